package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// connections is how many clients speak to a server at once.
const connections = 64

// load is the client of both sides of a comparison: so many kept connections, each with one request under way.
type load struct {
	client  *fasthttp.HostClient
	clients int // at once
}

func newLoad(address string) *load {
	return &load{
		client: &fasthttp.HostClient{
			Addr: address, MaxConns: connections, MaxIdleConnDuration: time.Minute,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		},
		clients: connections,
	}
}

func (l *load) close() { l.client.CloseIdleConnections() }

// request is what is sent: prepare fills in the i-th of them.
type request func(i int, r *fasthttp.Request)

// run sends n requests, each of which must be answered with the status. check, where it is not nil, sees every answer's body,
// which is the client's again afterwards. The first error ends the run.
func (l *load) run(ctx context.Context, n, status int, prepare request, check func(i int, body []byte) error) (time.Duration, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for range l.clients {
		clients.Go(func() {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				prepare(i, req)
				if err := l.client.Do(req, resp); err != nil {
					fail(fmt.Errorf("request %d: %w", i, err))
					return
				}
				if got := resp.StatusCode(); got != status {
					fail(fmt.Errorf("request %d: status %d, want %d: %s", i, got, status, resp.Body()))
					return
				}
				if check == nil {
					continue
				}
				if err := check(i, resp.Body()); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	clients.Wait()
	elapsed := time.Since(start)
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	return elapsed, nil
}

// post prepares POST requests with the bodies that body makes.
func post(path string, body func(i int) []byte) request {
	return func(i int, r *fasthttp.Request) {
		r.Header.SetMethod(fasthttp.MethodPost)
		r.Header.SetContentType("application/json")
		r.Header.SetHost("localhost")
		r.SetRequestURI(path)
		r.SetBodyRaw(body(i))
	}
}

// get prepares GET requests of the paths that path gives.
func get(path func(i int) string) request {
	return func(i int, r *fasthttp.Request) {
		r.Header.SetMethod(fasthttp.MethodGet)
		r.Header.SetHost("localhost")
		r.SetRequestURI(path(i))
	}
}

// costOf measures what f's n requests cost: the time, and the processor time of the processes that answer them.
func costOf(n int, f func() (time.Duration, error), servers ...*child) (sample, error) {
	before, err := cpuOf(servers)
	if err != nil {
		return nil, err
	}
	elapsed, failure := f()
	after, err := cpuOf(servers)
	if err := errors.Join(failure, err); err != nil {
		return nil, err
	}
	return sample{
		"rate": float64(n) / elapsed.Seconds(),
		"cpu":  float64((after - before).Microseconds()) / float64(n),
	}, nil
}

// shareOf measures the processor time of processes while f runs, in percent of a core.
func shareOf(f func() error, servers ...*child) (percent float64, err error) {
	got, err := costOf(1, func() (time.Duration, error) {
		start := time.Now()
		err := f()
		return time.Since(start), err
	}, servers...)
	return got["cpu"] * got["rate"] / 1e4, err // µs in a second
}

func cpuOf(children []*child) (sum time.Duration, err error) {
	for _, c := range children {
		used, err := c.cpu()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
