package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// measureGet measures how often a second a finished job is read, each time another one of many.
func measureGet(ctx context.Context, b *bench) (rows []row, err error) {
	n := b.amount(100_000, 500)
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 16})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	ids, err := s.runJobs(ctx, "get", b.amount(500, 5))
	if err != nil {
		return nil, err
	}
	resp, err := s.open(ctx, http.MethodGet, "/jobs/"+ids[0], nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	bare, err := b.start(ctx, "bare-get", body)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.end()) }()

	read := func(server *child) func(ctx context.Context) (sample, error) {
		return func(ctx context.Context) (sample, error) {
			l := newLoad(server.facts["address"])
			defer l.close()
			one := get(func(i int) string { return "/jobs/" + ids[i%len(ids)] })
			if _, err := l.run(ctx, n/10, http.StatusOK, one, nil); err != nil {
				return nil, err
			}
			return costOf(n, func() (time.Duration, error) { return l.run(ctx, n, http.StatusOK, one, nil) }, server)
		}
	}
	r, err := b.inTurns(ctx, "get", side{"here", read(s.api)}, side{"bare", read(bare)})
	if err != nil {
		return nil, err
	}
	const beside = "Fiber sending the same bytes"
	return []row{
		{fmt.Sprintf("GET /jobs/{id}, %d bytes", len(body)), "requests/s", more, r.of("here", "rate"), r.of("bare", "rate"), beside},
		{"  processor time of the server", "µs/request", less, r.of("here", "cpu"), r.of("bare", "cpu"), beside},
	}, nil
}
