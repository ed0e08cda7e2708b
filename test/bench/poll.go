package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"netlab-runner/internal/jobs"
)

// polled is the size of the logs that are asked for as JSON, and pollEvery how often each client asks.
const (
	polled    = 1_000_000
	pollEvery = time.Second
)

// measurePoll measures how long clients wait for a log as JSON who ask for all of it again and again, each for that of a job of its
// own, and whether the API's memory stays as it is. There is no baseline.
func measurePoll(ctx context.Context, b *bench) (rows []row, err error) {
	clients, polls := b.amount(100, 2), b.amount(10, 2)
	s, ids, err := b.startWithFloods(ctx, clients)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	p := &pollers{system: s, ids: ids, load: newLoad(s.api.facts["address"])}
	defer p.load.close()
	p.load.client.MaxConns = clients
	if err := p.first(ctx); err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "poll", side{"here", func(ctx context.Context) (sample, error) { return p.poll(ctx, polls) }})
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: fmt.Sprintf("JSON log of 1 MB, %d clients once a second, p99", clients), Unit: "ms", Better: less, Here: r.of("here", "p99")},
		{"  memory of the API, at most", "MiB", less, r.of("here", "most"), r.of("here", "before"), "when each has asked once"},
		{Name: "  processor time of the API", Unit: "% of a core", Better: less, Here: r.of("here", "cpu")},
	}, nil
}

// startWithFloods starts an API that finds so many jobs that have ended, each with a log of the size that is polled. What it takes to let
// them run is not in its memory.
func (b *bench) startWithFloods(ctx context.Context, count int) (s *system, ids []string, err error) {
	s, err = b.startNoopSystem(ctx, 1, noopWorker{Slots: 4, Flood: polled})
	if err != nil {
		return nil, nil, err
	}
	ids, err = s.runJobs(ctx, "polled", count)
	if err := errors.Join(err, s.end()); err != nil {
		return nil, nil, err
	}
	s, err = b.launchIn(ctx, s.dir, []string{busOnLoopback})
	return s, ids, err
}

// pollers are clients that ask for the log of one job each.
type pollers struct {
	system *system
	ids    []string
	load   *load
	logs   [][]byte // the answer that each must get
}

// first gets every log once, and checks it.
func (p *pollers) first(ctx context.Context) error {
	p.logs = make([][]byte, len(p.ids))
	_, err := p.load.run(ctx, len(p.ids), http.StatusOK, p.request, func(i int, body []byte) error {
		var answer struct {
			Log   string     `json:"log"`
			State jobs.State `json:"state"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if answer.State != jobs.Success || len(answer.Log) < polled {
			return fmt.Errorf("job %s: %s with %d bytes of log", p.ids[i], answer.State, len(answer.Log))
		}
		p.logs[i] = bytes.Clone(body)
		return nil
	})
	return err
}

// request is that of a client.
func (p *pollers) request(client int, r *fasthttp.Request) {
	get(func(i int) string { return "/jobs/" + p.ids[i] + "/log" })(client, r)
	r.Header.Set(fasthttp.HeaderAccept, "application/json")
}

// poll has each client ask so often.
func (p *pollers) poll(ctx context.Context, polls int) (sample, error) {
	api := p.system.api
	times := make([][]float64, len(p.ids))
	before, err := api.memory(resident)
	if err != nil {
		return nil, err
	}
	most := before
	share, err := shareOf(func() error {
		clients, ctx := errgroup.WithContext(ctx)
		for i := range p.ids {
			clients.Go(func() (err error) {
				// They do not ask all at the same time.
				if err := pause(ctx, pollEvery*time.Duration(i)/time.Duration(len(p.ids))); err != nil {
					return err
				}
				times[i], err = p.pollOne(ctx, i, polls)
				return err
			})
		}
		clients.Go(func() error {
			for range polls {
				if err := pause(ctx, pollEvery); err != nil {
					return err
				}
				now, err := api.memory(resident)
				if err != nil {
					return err
				}
				most = max(most, now)
			}
			return nil
		})
		return clients.Wait()
	}, api)
	return sample{"p99": quantile(slices.Concat(times...), 0.99), "before": before, "most": most, "cpu": share}, err
}

// pollOne asks for a client, and returns how long each answer took until it was there as a whole, in milliseconds.
func (p *pollers) pollOne(ctx context.Context, client, polls int) ([]float64, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var times []float64
	for {
		p.request(client, req)
		start := time.Now()
		if err := p.load.client.Do(req, resp); err != nil {
			return nil, err
		}
		times = append(times, milliseconds(start))
		if resp.StatusCode() != http.StatusOK || !bytes.Equal(resp.Body(), p.logs[client]) {
			return nil, fmt.Errorf("log of job %s: %d with %d bytes, not the first answer", p.ids[client], resp.StatusCode(), len(resp.Body()))
		}
		if len(times) == polls {
			return times, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
