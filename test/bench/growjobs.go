package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// prepareJobs stores so many jobs that have ended on a server of its own. Each time an API is started at it.
func prepareJobs(ctx context.Context, b *bench, count int) (*stage, error) {
	server, err := b.startFilledBus(ctx, count)
	if err != nil {
		return nil, err
	}
	measure := func(ctx context.Context) (got sample, err error) {
		s, got, err := b.timeReady(ctx, server, count)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.end()) }()
		got["page"], err = s.timeGet(ctx, "/jobs?limit=50", b.amount(500, 5))
		return got, err
	}
	return &stage{measure, server.end}, nil
}

// timeGet reads the path so often, one after the other, and returns how long an answer takes, in milliseconds.
func (s *system) timeGet(ctx context.Context, path string, times int) (float64, error) {
	l := newLoad(s.api.facts["address"])
	defer l.close()
	l.clients = 1
	elapsed, err := l.run(ctx, times, http.StatusOK, get(func(int) string { return path }), nil)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return float64(elapsed) / float64(times) / float64(time.Millisecond), nil
}
