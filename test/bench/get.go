package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"netlab-runner/internal/jobs"
)

// measureGet measures how often a second a job is read that has ended, and one that runs, each time another one of many.
func measureGet(ctx context.Context, b *bench) (rows []row, err error) {
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 16})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	ended, err := s.runJobs(ctx, "get", b.amount(500, 5))
	if err != nil {
		return nil, err
	}
	running, err := s.startJobs(ctx, b, b.amount(100, 2))
	if err != nil {
		return nil, err
	}
	var sides []side
	size := map[string]int{}
	for _, of := range []struct {
		name string
		ids  []string
	}{{"ended", ended}, {"running", running}} {
		body, failed := s.text(ctx, "/jobs/"+of.ids[0])
		if failed != nil {
			return nil, failed
		}
		size[of.name] = len(body)
		bare, failed := b.start(ctx, "bare-get", body)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, bare.end()) }()
		sides = append(sides, side{"here " + of.name, b.reader(s.api, of.ids)}, side{"bare " + of.name, b.reader(bare, of.ids)})
	}
	r, err := b.inTurns(ctx, "get", sides...)
	if err != nil {
		return nil, err
	}
	for _, of := range []struct{ name, title string }{{"ended", "GET /jobs/{id}"}, {"running", "GET /jobs/{id} of a running job"}} {
		here, bare := "here "+of.name, "bare "+of.name
		// How long the name of the temporary directory is differs from run to run.
		beside := fmt.Sprintf("Fiber sending the same %d bytes", size[of.name])
		rows = append(rows,
			row{of.title, "requests/s", more, r.of(here, "rate"), r.of(bare, "rate"), beside},
			row{"  processor time of the server", "µs/request", less, r.of(here, "cpu"), r.of(bare, "cpu"), beside},
		)
	}
	return rows, nil
}

// reader reads the jobs from a server.
func (b *bench) reader(server *child, ids []string) func(ctx context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		n := b.amount(100_000, 500)
		l := newLoad(server.facts["address"])
		defer l.close()
		one := get(func(i int) string { return "/jobs/" + ids[i%len(ids)] })
		if _, err := l.run(ctx, n/10, http.StatusOK, one, nil); err != nil {
			return nil, err
		}
		return costOf(n, func() (time.Duration, error) { return l.run(ctx, n, http.StatusOK, one, nil) }, server)
	}
}

// startJobs starts so many jobs that run for longer than anything is measured, on a host of their own, and write little.
func (s *system) startJobs(ctx context.Context, b *bench, count int) (ids []string, err error) {
	const host = "bench-running"
	w := noopWorker{Hosts: []string{host}, Slots: count, Ticks: 60, Every: time.Minute}
	if err := b.addNoopWorkers(ctx, s, s.api, w); err != nil {
		return nil, err
	}
	if err := s.awaitHosts(ctx, len(s.workers)); err != nil {
		return nil, err
	}
	for i := range count {
		body, err := json.Marshal(map[string]any{
			"action": jobs.Create, "host": host, "workdir": filepath.Join(s.root, "running"+strconv.Itoa(i)), "topology": "nodes: [ r1 ]\n",
		})
		if err != nil {
			return nil, err
		}
		job, err := s.submit(ctx, body)
		if err != nil {
			return nil, err
		}
		ids = append(ids, job.ID)
	}
	return ids, s.eventually(ctx, "the jobs run", func() (bool, error) {
		var list struct {
			Jobs []jobs.Job `json:"jobs"`
		}
		err := s.get(ctx, "/jobs?state=running&limit="+strconv.Itoa(count), &list)
		return len(list.Jobs) == count, err
	})
}

// text is the body of an answer.
func (s *system) text(ctx context.Context, path string) ([]byte, error) {
	resp, err := s.open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return body, errors.Join(err, resp.Body.Close())
}
