package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
)

// measurePost measures how many jobs a second are accepted. A host is announced and takes none, so that nothing else is
// measured. Each round has new processes and empty stores.
func measurePost(ctx context.Context, b *bench) ([]row, error) {
	// The bare side is many times as fast, and must not be over before it can be measured.
	n, least, bare := b.amount(5000, 50), b.amount(10_000, 100), b.amount(20_000, 200)
	const known = 64
	newDirs := func(i int) int { return i }
	birth, err := b.takeBirth(ctx)
	if err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "post",
		side{"new", func(ctx context.Context) (sample, error) { return b.postToSystem(ctx, n, newDirs) }},
		side{"known", func(ctx context.Context) (sample, error) {
			return b.postToSystem(ctx, n, func(i int) int { return i % known })
		}},
		side{"least", func(ctx context.Context) (sample, error) {
			return b.postToBare(ctx, "least-post", leastConfig{Birth: birth}, least, newDirs, checkBirths)
		}},
		side{"bare", func(ctx context.Context) (sample, error) {
			return b.postToBare(ctx, "bare-post", leastConfig{}, bare, newDirs, nil)
		}},
	)
	if err != nil {
		return nil, err
	}
	const beside = "Fiber and one compare-and-set publish"
	return []row{
		{"POST /jobs, each job in a new directory", "jobs/s", more, r.of("new", "rate"), r.of("bare", "rate"), beside},
		{"  processor time of the server", "µs/job", less, r.of("new", "cpu"), r.of("bare", "cpu"), beside},
		{fmt.Sprintf("POST /jobs, in %d known directories", known), "jobs/s", more, r.of("known", "rate"), r.of("bare", "rate"), beside},
		{"  processor time of the server", "µs/job", less, r.of("known", "cpu"), r.of("bare", "cpu"), beside},
		{"what the first asks of the bus, and no more", "jobs/s", more, r.of("least", "rate"), r.of("bare", "rate"), beside},
		{"  processor time of the server", "µs/job", less, r.of("least", "cpu"), r.of("bare", "cpu"), beside},
	}, nil
}

// postBody is what a client sends, for the directory with the number.
func postBody(dir int) []byte {
	return []byte(`{"action":"up","workspaceRoot":"/home/bench/netlab","workdir":"/home/bench/netlab/workspace/deployment-` +
		strconv.Itoa(dir) + `","topologyPath":"topology.yml","cleanup":false}`)
}

// warmUp is how many jobs are posted before n are measured.
func warmUp(n int) int { return n / 10 }

// postTo posts n jobs, after some to warm up with. dirOf gives the directory of the i-th job.
func postTo(ctx context.Context, server *child, n int, dirOf func(i int) int) (sample, error) {
	l := newLoad(server.facts["address"])
	defer l.close()
	warm := warmUp(n)
	bodies := make([][]byte, warm+n)
	for i := range bodies {
		bodies[i] = postBody(dirOf(i))
	}
	if _, err := l.run(ctx, warm, http.StatusAccepted, post("/jobs", func(i int) []byte { return bodies[i] }), nil); err != nil {
		return nil, err
	}
	return costOf(n, func() (time.Duration, error) {
		return l.run(ctx, n, http.StatusAccepted, post("/jobs", func(i int) []byte { return bodies[warm+i] }), nil)
	}, server)
}

func (b *bench) postToSystem(ctx context.Context, n int, dirOf func(i int) int) (got sample, err error) {
	err = b.withOneHost(ctx, func(s *system) error {
		got, err = postTo(ctx, s.api, n, dirOf)
		return err
	})
	return got, err
}

// takeBirth is the birth of one of the jobs that are posted.
func (b *bench) takeBirth(ctx context.Context) (birth message, err error) {
	err = b.withOneHost(ctx, func(s *system) error {
		job, err := s.submit(ctx, postBody(0))
		if err == nil {
			birth, err = s.birthOf(ctx, job.ID)
		}
		return err
	})
	return birth, err
}

// withOneHost starts a system with a host that takes no jobs, for as long as use takes.
func (b *bench) withOneHost(ctx context.Context, use func(s *system) error) (err error) {
	s, err := b.startSystem(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	leave, err := announce(ctx, s)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.awaitHosts(ctx, 1); err != nil {
		return err
	}
	return use(s)
}

// announce keeps the lease of a host that takes no jobs until the returned function is called.
func announce(ctx context.Context, s *system) (leave func(), err error) {
	conn, err := bus.Connect(bus.Config{URL: s.api.facts["bus"], Creds: s.api.facts["creds"], Name: "bench", Source: "/bench"})
	if err != nil {
		return nil, err
	}
	h := &hosts.Host{
		Name: "bench", Identity: "bench", StartedAt: time.Now().UTC(), Slots: 2, Roots: []string{"/home"},
	}
	h.Netlab.Version = "26.10"
	lease, err := conn.AcquireLease(ctx, h)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lease.TTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = lease.Renew(ctx, h) // a host that is lost fails the next request, which says so
			}
		}
	}()
	return func() {
		cancel()
		<-done
		conn.Close()
	}, nil
}

// postToBare posts to a process in the role, which is told a directory too. check, where it is not nil, is told how many were posted.
func (b *bench) postToBare(
	ctx context.Context, role string, config leastConfig, n int, dirOf func(i int) int, check func(ctx context.Context, c *child, posted int) error,
) (got sample, err error) {
	if config.Dir, err = b.newDir("bare"); err != nil {
		return nil, err
	}
	c, err := b.start(ctx, role, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	got, err = postTo(ctx, c, n, dirOf)
	if err == nil && check != nil {
		err = check(ctx, c, warmUp(n)+n)
	}
	return got, err
}
