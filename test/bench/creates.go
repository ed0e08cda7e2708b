package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// measureCreates measures how many real creates of three routers a minute are done, as many at once as there are cores: posted all
// at once to netlab-api, whose worker has that many slots, and by hand with xargs.
func measureCreates(ctx context.Context, b *bench) (rows []row, err error) {
	n, err := b.newNetlab()
	if err != nil {
		return nil, err
	}
	s, err := n.startSystem(ctx, "creates")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.endWithRuns()) }()
	here := func(ctx context.Context, dirs []string) error { return s.createAll(ctx, dirs) }
	count := b.amount(12, 1)
	for _, create := range []func(context.Context, []string) error{here, n.createAllByHand} { // the first runs in a new home take longer
		if _, err := n.timeCreates(ctx, b.amount(1, 0), create); err != nil {
			return nil, err
		}
	}
	r, err := b.inTurns(ctx, "creates",
		side{"here", func(ctx context.Context) (sample, error) { return n.timeCreates(ctx, count, here) }},
		side{"cli", func(ctx context.Context) (sample, error) { return n.timeCreates(ctx, count, n.createAllByHand) }},
	)
	if err != nil {
		return nil, err
	}
	return []row{{
		fmt.Sprintf("create, %d at once, POST to the ends", runtime.NumCPU()), "jobs/min", more,
		r.of("here", "rate"), r.of("cli", "rate"), fmt.Sprintf("netlab create, %d at once, by xargs", runtime.NumCPU()),
	}}, nil
}

// timeCreates lays out so many labs, has them created, and returns how many a minute were.
func (n *netlab) timeCreates(ctx context.Context, count int, create func(ctx context.Context, dirs []string) error) (sample, error) {
	dirs := make([]string, count)
	for i := range dirs {
		var err error
		if dirs[i], err = n.newLab(n.sampleLab()); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	if err := create(ctx, dirs); err != nil {
		return nil, err
	}
	rate := float64(count) / time.Since(start).Minutes()
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "clab.yml")); err != nil {
			return nil, fmt.Errorf("nothing was created: %w", err)
		}
	}
	return sample{"rate": rate}, nil
}

// createAll posts a create in each directory, all at once, and follows their logs to their ends.
func (s *system) createAll(ctx context.Context, dirs []string) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, dir := range dirs {
		all.Go(func() error {
			body, err := createIn(dir)
			if err != nil {
				return err
			}
			job, err := s.submit(ctx, body)
			if err != nil {
				return err
			}
			if _, err := s.follow(ctx, job.ID, nil); err != nil {
				return err
			}
			return s.succeeded(ctx, job.ID)
		})
	}
	return all.Wait()
}

// createAllByHand runs `netlab create` in each directory, as from a shell, as many at once as there are cores. What a command
// writes goes into a file beside its lab.
func (n *netlab) createAllByHand(ctx context.Context, dirs []string) error {
	cmd := n.command(ctx, n.labs)
	xargs, err := exec.LookPath("xargs")
	if err != nil {
		return err
	}
	cmd.Path = xargs
	cmd.Args = []string{
		"xargs", "-P", strconv.Itoa(runtime.NumCPU()), "-I{}",
		"sh", "-c", `cd "$1" && exec netlab create topology.yml >create.log 2>&1`, "sh", "{}",
	}
	cmd.Stdin = strings.NewReader(strings.Join(dirs, "\n"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("netlab create with xargs: %w\n%s", err, text)
	}
	return nil
}
