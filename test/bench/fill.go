package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// rareJobs is how many of the jobs that are filled in have the rare value of every field that a list can be filtered by. All
// others have the usual one.
const rareJobs = 50

// roomForMany are settings of an API that keeps 100,000 jobs and more.
func roomForMany() []string { return []string{"--retain-jobs=0", "--bus-jobs-bytes=1GiB"} }

// filler stores jobs that have ended, as an API and a worker would have left them: birth, claim, end, and a log.
type filler struct {
	bus   *bus.Bus
	count int
	log   []byte // empty: none
}

// fill stores count jobs, a multiple of rareJobs, on the bus at url, each with the log. It returns the id of the newest one: once
// that is shown as ended, all are.
func fill(ctx context.Context, url, creds string, count int, log []byte) (newest string, err error) {
	b, err := bus.Connect(bus.Config{URL: url, Creds: creds, Name: "bench", Source: "/bench"})
	if err != nil {
		return "", err
	}
	defer b.Close()
	f := &filler{bus: b, count: count, log: log}
	var next atomic.Int64
	writers, writing := errgroup.WithContext(ctx)
	for range connections {
		writers.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= count-1 {
					return nil
				}
				if _, err := f.store(writing, n); err != nil {
					return err
				}
			}
		})
	}
	if err := writers.Wait(); err != nil {
		return "", err
	}
	return f.store(ctx, count-1)
}

// store stores the n-th job and returns its id.
func (f *filler) store(ctx context.Context, n int) (string, error) {
	value, action, end := "usual", jobs.Create, jobs.Succeed
	if n%(f.count/rareJobs) == 0 {
		value, action, end = "rare", jobs.Collect, jobs.Fail
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	job := jobs.Job{
		ID: id.String(), Action: action, State: jobs.Queued, User: value, Workspace: value, Deployment: value, Host: value,
		Workdir: "/home/bench/netlab/" + value, Placement: "most room of 10", CreatedAt: time.Now().UTC().Truncate(time.Second),
		Warnings: []string{}, Request: jobs.Request{Action: action, User: value, Workspace: value, Deployment: value},
	}
	if _, err := f.bus.Submit(ctx, &bus.Birth{Job: job}); err != nil {
		return "", err
	}
	if len(f.log) > 0 {
		if _, err := f.bus.PublishLog(ctx, &bus.Chunk{Host: job.Host, Job: job.ID, Text: f.log}, 0); err != nil {
			return "", err
		}
	}
	last := uint64(0)
	for _, e := range []jobs.Event{jobs.Start, end} {
		if err := job.Move(e, time.Now()); err != nil {
			return "", err
		}
		if job.State == jobs.Failed {
			text := "netlab collect: exit code 1"
			job.Error, job.Reason = &text, jobs.ReasonNetlabFailed
		}
		if job.State.Terminal() {
			job.LogBytes = int64(len(f.log))
		}
		if last, err = f.bus.PublishStatus(ctx, &job, last); err != nil {
			return "", err
		}
	}
	return job.ID, nil
}

// awaitNewest returns when the API shows the job as its newest one, and as ended.
func (s *system) awaitNewest(ctx context.Context, id string) error {
	return s.eventually(ctx, "all jobs have been read", func() (bool, error) {
		var list struct {
			Jobs []jobs.Job `json:"jobs"`
		}
		err := s.get(ctx, "/jobs?limit=1", &list)
		return len(list.Jobs) == 1 && list.Jobs[0].ID == id && list.Jobs[0].State.Terminal(), err
	})
}
