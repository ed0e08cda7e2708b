package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"netlab-runner/internal/program"
	"netlab-runner/internal/settings"
)

// measureIdle measures what an API with its server and a worker take while there is nothing to do, and what the worker keeps
// ready of Netlab. Jobs have ended, and one of them has run here a moment ago. There is no baseline.
func measureIdle(ctx context.Context, b *bench) (rows []row, err error) {
	count, span := b.amount(1000, 50), time.Duration(b.amount(10, 1))*time.Second
	n, err := b.newNetlab()
	if err != nil {
		return nil, err
	}
	s, err := b.startWithEnded(ctx, count)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.endWithRuns()) }()
	if err := s.addWorker(ctx, n); err != nil {
		return nil, err
	}
	if _, err := n.createHere(ctx, s); err != nil {
		return nil, err
	}
	// What comes after a job's end is no idleness.
	if err := pause(ctx, span/2); err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "idle", side{"here", func(ctx context.Context) (sample, error) { return s.idle(ctx, span) }})
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: fmt.Sprintf("idle with %d jobs: processor time, API and worker", count), Unit: "% of a core", Better: less, Here: r.of("here", "cpu")},
		{Name: "  memory of the API, its server included, and the worker", Unit: "MiB", Better: less, Here: r.of("here", "memory")},
		{Name: "  memory of what is kept ready of Netlab", Unit: "MiB", Better: less, Here: r.of("here", "warm")},
	}, nil
}

// startWithEnded starts an API that finds so many jobs that have ended. What it takes to store them so fast is not in its memory.
func (b *bench) startWithEnded(ctx context.Context, count int) (*system, error) {
	s, err := b.startSystem(ctx, nil)
	if err != nil {
		return nil, err
	}
	newest, err := fill(ctx, s.api.facts["bus"], s.api.facts["creds"], count, verbose(4096))
	if err == nil {
		err = s.awaitNewest(ctx, newest)
	}
	if err := errors.Join(err, s.end()); err != nil {
		return nil, err
	}
	return b.launchIn(ctx, s.dir, []string{busOnLoopback})
}

// idle looks on for a time.
func (s *system) idle(ctx context.Context, span time.Duration) (sample, error) {
	worker := s.workers[0].cmd.Process.Pid
	warm, err := childOf(worker, "main.py warm ")
	if err != nil {
		return nil, err
	}
	share, err := shareOf(func() error { return pause(ctx, span) }, s.processes()...)
	if err != nil {
		return nil, err
	}
	got := sample{"cpu": share}
	for _, c := range s.processes() {
		memory, err := c.memory(resident)
		if err != nil {
			return nil, err
		}
		got["memory"] += memory
	}
	got["warm"], err = memoryOf(warm, resident)
	return got, err
}

// addWorker starts a worker that runs Netlab, in a process of its own.
func (s *system) addWorker(ctx context.Context, n *netlab) error {
	args := append(n.workerArguments(), "--worker-data-dir="+s.workerDir())
	c, err := n.start(ctx, "netlab-worker", append(args, busArguments(s.api)...), "HOME="+n.home)
	if err != nil {
		return err
	}
	s.workers = append(s.workers, c)
	return s.awaitHosts(ctx, 1)
}

// roleNetlabWorker is netlab-worker itself, with the arguments that the parent gives.
func roleNetlabWorker(ctx context.Context, config json.RawMessage, t *talk) error {
	var args []string
	if err := json.Unmarshal(config, &args); err != nil {
		return err
	}
	s, err := settings.ParseWorker(settings.Invocation{Args: args, Stdout: os.Stderr, Version: "bench"})
	if err != nil {
		return err
	}
	if err := s.MakeDirs(); err != nil {
		return err
	}
	if err := t.ready(facts{}); err != nil {
		return err
	}
	return program.RunWorker(ctx, s, "bench", slog.New(quiet()))
}
