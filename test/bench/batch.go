package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"netlab-runner/internal/jobs"
)

// runJobs posts n jobs in directories of their own, waits until all have succeeded, and returns their ids.
func (s *system) runJobs(ctx context.Context, name string, n int) ([]string, error) {
	ids, _, err := s.timeJobs(ctx, name, n)
	if err != nil {
		return nil, err
	}
	return ids, s.checkJobs(ctx, ids)
}

// timeJobs posts n jobs and returns their ids, and the time from the first post until no job is queued or running.
func (s *system) timeJobs(ctx context.Context, name string, n int) (ids []string, elapsed time.Duration, err error) {
	l := newLoad(s.api.facts["address"])
	defer l.close()
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = s.createJob(name + strconv.Itoa(i))
	}
	ids = make([]string, n)
	start := time.Now()
	_, err = l.run(ctx, n, http.StatusAccepted, post("/jobs", func(i int) []byte { return bodies[i] }), func(i int, body []byte) error {
		var job jobs.Job
		err := json.Unmarshal(body, &job)
		ids[i] = job.ID
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if err := s.awaitDone(ctx); err != nil {
		return nil, 0, err
	}
	return ids, time.Since(start), nil
}

// checkJobs checks that every job has succeeded.
func (s *system) checkJobs(ctx context.Context, ids []string) error {
	l := newLoad(s.api.facts["address"])
	defer l.close()
	_, err := l.run(ctx, len(ids), http.StatusOK, get(func(i int) string { return "/jobs/" + ids[i] }), func(_ int, body []byte) error {
		var job jobs.Job
		err := json.Unmarshal(body, &job)
		if err == nil && job.State != jobs.Success {
			err = fmt.Errorf("job %s has not succeeded: %s", job.ID, body)
		}
		return err
	})
	return err
}
