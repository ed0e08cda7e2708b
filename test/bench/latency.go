package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// measureLatency measures the time from a line's write on the host to its arrival at a follower, for one job and for many at
// once, each followed. There is no baseline.
func measureLatency(ctx context.Context, b *bench) (rows []row, err error) {
	const many = 20
	lines := b.amount(400, 30)
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: many, Ticks: lines, Every: 10 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	round := 0
	ofJobs := func(n int) func(ctx context.Context) (sample, error) {
		return func(ctx context.Context) (sample, error) {
			round++
			return s.latency(ctx, "round"+strconv.Itoa(round)+"-", n, lines)
		}
	}
	r, err := b.inTurns(ctx, "latency", side{"one", ofJobs(1)}, side{"many", ofJobs(many)})
	if err != nil {
		return nil, err
	}
	for _, of := range []struct {
		side string
		jobs int
	}{{"one", 1}, {"many", many}} {
		for _, q := range []string{"p50", "p99"} {
			rows = append(rows, row{
				Name: fmt.Sprintf("line written to line read, %s, 100 lines/s in each of %d", q, of.jobs),
				Unit: "ms", Better: less, Here: r.of(of.side, q),
			})
		}
	}
	return rows, nil
}

// latency runs so many jobs at once, follows the lines of each, and returns quantiles over those of all, in milliseconds.
func (s *system) latency(ctx context.Context, name string, n, lines int) (sample, error) {
	var mu sync.Mutex
	var all []float64
	var failures error
	var followers sync.WaitGroup
	for i := range n {
		followers.Go(func() {
			times, err := s.timeLines(ctx, s.createJob(name+strconv.Itoa(i)), lines)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			failures = errors.Join(failures, err)
		})
	}
	followers.Wait()
	return sample{"p50": quantile(all, 0.5), "p99": quantile(all, 0.99)}, failures
}

// timeLines follows a job that writes so many lines with their times, and returns how long each was under way, in milliseconds. All of
// them must come, one after the other.
func (s *system) timeLines(ctx context.Context, body []byte, lines int) ([]float64, error) {
	job, err := s.submit(ctx, body)
	if err != nil {
		return nil, err
	}
	var times []float64
	var rest []byte
	_, err = s.follow(ctx, job.ID, func(block []byte) {
		now := monotonic()
		rest = append(rest, block...)
		for {
			line, after, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				return
			}
			rest = after
			if written, ok := tickOf(line, len(times)); ok {
				times = append(times, float64(now-written)/float64(time.Millisecond))
			}
		}
	})
	if err == nil && len(times) != lines {
		err = fmt.Errorf("job %s: %d lines with their times came in order, want %d", job.ID, len(times), lines)
	}
	return times, errors.Join(err, s.succeeded(ctx, job.ID))
}

// tickOf reads the time that the line of ticks with the number begins with.
func tickOf(line []byte, number int) (at int64, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 3 || string(fields[0]) != "tick" || string(fields[2]) != strconv.Itoa(number) {
		return 0, false
	}
	at, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return at, err == nil
}
