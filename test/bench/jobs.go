package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	jobsHosts = 2
	jobsSlots = 64 // of each host: no job waits for one for long
)

// measureJobs measures how many jobs a second go all the way: posted, claimed, run by a driver that does nothing but write
// a line, shown as ended. The baseline carries the same four messages a job through an equal server.
func measureJobs(ctx context.Context, b *bench) (rows []row, err error) {
	// The bare side is many times as fast, and must not be over before it can be measured.
	n, bareCount := b.amount(2000, 20), b.amount(8000, 100)
	s, err := b.startNoopSystem(ctx, jobsHosts, noopWorker{Slots: jobsSlots})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	ids, err := s.runJobs(ctx, "warm", n/5)
	if err != nil {
		return nil, err
	}
	life, err := s.lifeOf(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	bare, err := b.startBareFleet(ctx, life, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.end()) }()
	files, err := b.startBareFleet(ctx, life, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, files.end()) }()
	for fleet, count := range map[*bareFleet]int{bare: bareCount, files: n} {
		if _, err := fleet.run(count / 5); err != nil {
			return nil, err
		}
	}
	round := 0
	r, err := b.inTurns(ctx, "jobs",
		side{"here", func(ctx context.Context) (sample, error) {
			round++
			var ids []string
			got, err := costOf(n, func() (elapsed time.Duration, err error) {
				ids, elapsed, err = s.timeJobs(ctx, "round"+strconv.Itoa(round)+"-", n)
				return elapsed, err
			}, s.processes()...)
			if err != nil {
				return nil, err
			}
			return got, s.checkJobs(ctx, ids)
		}},
		side{"files", func(context.Context) (sample, error) {
			return costOf(n, func() (time.Duration, error) { return files.run(n) }, files.processes()...)
		}},
		side{"bare", func(context.Context) (sample, error) {
			return costOf(bareCount, func() (time.Duration, error) { return bare.run(bareCount) }, bare.processes()...)
		}},
	)
	if err != nil {
		return nil, err
	}
	const beside = "the same messages with bare JetStream calls"
	return []row{
		{
			fmt.Sprintf("jobs that do nothing, from POST to their end, %d hosts", jobsHosts), "jobs/s", more,
			r.of("here", "rate"), r.of("bare", "rate"), beside,
		},
		{"  processor time of the server and the workers", "µs/job", less, r.of("here", "cpu"), r.of("bare", "cpu"), beside},
		{"the same messages, and the files that a job needs", "jobs/s", more, r.of("files", "rate"), r.of("bare", "rate"), beside},
		{"  processor time of the server and the workers", "µs/job", less, r.of("files", "cpu"), r.of("bare", "cpu"), beside},
	}, nil
}

// message is one of a job's, to be sent again with another subject.
type message struct {
	Header nats.Header
	Data   []byte
}

// life are the messages of a job that has succeeded.
type life struct{ Request, Running, Log, Success message }

// lifeOf reads them from the bus. The log is one message, as if the job had written it at once.
func (s *system) lifeOf(ctx context.Context, id string) (*life, error) {
	conn, js, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	l := &life{}
	for _, stream := range []string{"NETLAB_JOBS", "NETLAB_LOGS"} {
		messages, err := readAll(ctx, js, stream, "netlab.jobs.*."+id+".>")
		if err != nil {
			return nil, err
		}
		for i, m := range messages {
			switch {
			case stream == "NETLAB_LOGS":
				l.Log = message{m.Header, append(l.Log.Data, m.Data...)}
			case i == 0:
				l.Request = m
			case i == 1:
				l.Running = m
			default:
				l.Success = m
			}
		}
	}
	if l.Success.Data == nil || l.Log.Data == nil {
		return nil, fmt.Errorf("job %s has left less on the bus than a whole life", id)
	}
	return l, nil
}

// connect makes a connection to the system's bus from outside.
func (s *system) connect() (*nats.Conn, jetstream.JetStream, error) {
	key, err := nats.NkeyOptionFromSeed(s.api.facts["creds"])
	if err != nil {
		return nil, nil, err
	}
	return connectBare(s.api.facts["bus"], key)
}

func connectBare(url string, options ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect(url, options...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, js, nil
}

// readAll returns what a stream has under a subject.
func readAll(ctx context.Context, js jetstream.JetStream, stream, subject string) ([]message, error) {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return nil, err
	}
	var all []message
	for range consumer.CachedInfo().NumPending {
		m, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			return nil, err
		}
		all = append(all, message{m.Headers(), m.Data()})
	}
	return all, nil
}

// bareFleet is the baseline: a server, and a taker of requests for each host, in processes of their own.
type bareFleet struct {
	bus    *child
	takers []*child
}

// startBareFleet starts one whose workers keep files or not.
func (b *bench) startBareFleet(ctx context.Context, l *life, files bool) (*bareFleet, error) {
	c, err := b.newBareConfig(l)
	if err != nil {
		return nil, err
	}
	c.Slots, c.Files = jobsSlots, files
	f := &bareFleet{}
	if f.bus, err = b.start(ctx, "bare-bus", c); err != nil {
		return nil, err
	}
	for i := range jobsHosts {
		c.URL, c.Host = f.bus.facts["bus"], bareHost(i)
		taker, err := b.start(ctx, "bare-worker", c)
		if err != nil {
			return nil, errors.Join(err, f.end())
		}
		f.takers = append(f.takers, taker)
	}
	return f, nil
}

// run sends n jobs on their way and returns the time until the last has ended.
func (f *bareFleet) run(n int) (elapsed time.Duration, err error) {
	err = f.bus.ask(n, &elapsed)
	return elapsed, err
}

func (f *bareFleet) processes() []*child { return append([]*child{f.bus}, f.takers...) }

func (f *bareFleet) end() error {
	var errs []error
	for _, t := range f.takers {
		errs = append(errs, t.end())
	}
	return errors.Join(append(errs, f.bus.end())...)
}

func bareHost(i int) string { return "bare-" + strconv.Itoa(i+1) }
