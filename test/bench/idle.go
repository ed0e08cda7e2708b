package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// measureIdle measures what an API with its server and a worker take while there is nothing to do, and what the worker keeps
// ready of Netlab. Jobs have ended, and a moment ago labs have run here of all modules that Netlab has. The baseline is a server alone:
// it says how dear it is to this machine to wake up a process.
func measureIdle(ctx context.Context, b *bench) (rows []row, err error) {
	count, span := b.amount(1000, 50), time.Duration(b.amount(10, 1))*time.Second
	n, err := b.newNetlab()
	if err != nil {
		return nil, err
	}
	s, life, err := b.startWithEnded(ctx, count)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.endWithRuns()) }()
	bare, err := b.startBareIdle(ctx, life, count)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.end()) }()
	if got, want := bare.facts["messages"], strconv.Itoa(4*count); got != want {
		return nil, fmt.Errorf("the bare server has %s messages, want %s", got, want)
	}
	if err := s.addWorker(ctx, n); err != nil {
		return nil, err
	}
	if err := n.createEverything(ctx, s); err != nil {
		return nil, err
	}
	// What comes after a job's end is no idleness.
	if err := pause(ctx, span/2); err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "idle",
		side{"here", func(ctx context.Context) (sample, error) { return s.idle(ctx, span) }},
		side{"bare", func(ctx context.Context) (sample, error) { return idle(ctx, span, bare) }},
	)
	if err != nil {
		return nil, err
	}
	const beside = "a bare server with as many messages"
	return []row{
		{
			fmt.Sprintf("idle with %d jobs: processor time, API and worker", count), "% of a core", less,
			r.of("here", "cpu"), r.of("bare", "cpu"), beside,
		},
		{"  memory of the API, its server included, and the worker", "MiB", less, r.of("here", "memory"), r.of("bare", "memory"), beside},
		{Name: "  memory of what is kept ready of Netlab", Unit: "MiB", Better: less, Here: r.of("here", "warm")},
	}, nil
}

// createEverything creates labs that together have all of Netlab's modules, twice: what is compiled for the first ones is kept ready.
func (n *netlab) createEverything(ctx context.Context, s *system) error {
	topologies, err := filepath.Glob(filepath.Join(n.root, "internal", "exec", "testdata", "topologies", "*.yml"))
	if err != nil {
		return err
	}
	for range n.amount(2, 1) {
		for _, topology := range topologies {
			if _, err := n.createOf(ctx, s, topology); err != nil {
				return err
			}
		}
	}
	return nil
}

// startWithEnded starts an API that finds so many jobs that have ended, and returns the messages of one. What it takes to store them so
// fast, and to read those, is not in its memory.
func (b *bench) startWithEnded(ctx context.Context, count int) (s *system, l *life, err error) {
	s, err = b.startSystem(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	newest, err := fill(ctx, s.api.facts["bus"], s.api.facts["creds"], filling{count: count, log: verbose(4096)})
	if err == nil {
		err = s.awaitNewest(ctx, newest)
	}
	if err == nil {
		l, err = s.lifeOf(ctx, newest)
	}
	if err := errors.Join(err, s.end()); err != nil {
		return nil, nil, err
	}
	s, err = b.launchIn(ctx, s.dir, []string{busOnLoopback})
	return s, l, err
}

// idle looks on for a time.
func (s *system) idle(ctx context.Context, span time.Duration) (sample, error) {
	worker := s.workers[0].pid()
	warm, err := childOf(worker, warmParent)
	if err != nil {
		return nil, err
	}
	got, err := idle(ctx, span, s.processes()...)
	if err != nil {
		return nil, err
	}
	got["warm"], err = memoryOf(warm, resident)
	return got, err
}

// idle looks on at processes for a time.
func idle(ctx context.Context, span time.Duration, processes ...*child) (sample, error) {
	share, err := shareOf(func() error { return pause(ctx, span) }, processes...)
	if err != nil {
		return nil, err
	}
	got := sample{"cpu": share}
	for _, c := range processes {
		memory, err := c.memory(resident)
		if err != nil {
			return nil, err
		}
		got["memory"] += memory
	}
	return got, nil
}

// addWorker starts netlab-worker itself: this program has the server linked in, which makes it much larger.
func (s *system) addWorker(ctx context.Context, n *netlab) error {
	program := filepath.Join(n.temporary, "netlab-worker")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/worker")
	build.Dir = n.root
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, output)
	}
	args := append(n.workerArguments(), "--worker-data-dir="+s.workerDir())
	c, err := n.start(ctx, "guard", guarded{program, append(args, busArguments(s.api)...), append(cleanEnvironment(), "HOME="+n.home), s.dir})
	if err != nil {
		return err
	}
	s.workers = append(s.workers, c)
	return s.awaitHosts(ctx, 1)
}
