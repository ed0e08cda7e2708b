package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/bus/embedded"
)

// measureReady measures how long netlab-api takes to start where the bus has many jobs that have ended, and the memory that it
// has then. The server is a process of its own. The baseline is a process that reads what the API has to read.
func measureReady(ctx context.Context, b *bench) (rows []row, err error) {
	count := b.amount(100_000, 200)
	server, err := b.startBus(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.end()) }()
	// The first API makes the streams, and finds them empty.
	empty, err := b.readyWith(ctx, server, 0)
	if err != nil {
		return nil, err
	}
	if _, err := fill(ctx, server.facts["bus"], server.facts["creds"], filling{count: count}); err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "ready",
		side{"here", func(ctx context.Context) (sample, error) { return b.readyWith(ctx, server, count) }},
		side{"bare", func(ctx context.Context) (sample, error) { return b.readBare(ctx, server, 2*count) }},
	)
	if err != nil {
		return nil, err
	}
	perJob := func(mebibytes []float64) []float64 {
		kibibytes := make([]float64, len(mebibytes))
		for i, m := range mebibytes {
			kibibytes[i] = m * 1024 / float64(count)
		}
		return kibibytes
	}
	const beside = "an ordered read of each subject's last message"
	return []row{
		{fmt.Sprintf("netlab-api, start to ready, %d jobs on the bus", count), "ms", less, r.of("here", "ready"), r.of("bare", "ready"), beside},
		{"  processor time of the API until then", "ms", less, r.of("here", "cpu"), r.of("bare", "cpu"), beside},
		{"  memory a job", "KiB", less, perJob(r.of("here", "memory")), perJob([]float64{empty["memory"]}), "an API with no job"},
	}, nil
}

// startBus starts a server in a process of its own.
func (b *bench) startBus(ctx context.Context) (*child, error) {
	dir, err := b.newDir("bus")
	if err != nil {
		return nil, err
	}
	return b.start(ctx, "bus", dir)
}

// busArguments are those that let an API or a worker use the bus of a process.
func busArguments(server *child) []string {
	return []string{"--bus-url=" + server.facts["bus"], "--bus-creds=" + server.facts["creds"]}
}

// startFilledBus starts a server that has so many jobs that have ended.
func (b *bench) startFilledBus(ctx context.Context, count int) (*child, error) {
	server, err := b.startBus(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = b.readyWith(ctx, server, 0); err == nil { // which makes the streams
		_, err = fill(ctx, server.facts["bus"], server.facts["creds"], filling{count: count})
	}
	if err != nil {
		return nil, errors.Join(err, server.end())
	}
	return server, nil
}

// readyWith starts an API at the server and ends it when it is ready, which it is with so many jobs.
func (b *bench) readyWith(ctx context.Context, server *child, count int) (sample, error) {
	s, got, err := b.timeReady(ctx, server, count)
	if err != nil {
		return nil, err
	}
	return got, s.end()
}

// timeReady starts an API at the server, which has so many jobs, and measures it up to when it is ready.
func (b *bench) timeReady(ctx context.Context, server *child, count int) (s *system, got sample, err error) {
	start := time.Now()
	s, err = b.launch(ctx, append(roomForMany(), busArguments(server)...))
	if err != nil {
		return nil, nil, err
	}
	got = sample{"ready": milliseconds(start)}
	if got["cpu"], err = s.api.cpuMilliseconds(); err == nil {
		err = s.checkCount(ctx, count)
	}
	if err == nil {
		// What reading the jobs has left behind is given back behind the start.
		err = pause(ctx, time.Duration(b.amount(2000, 1))*time.Millisecond)
	}
	if err == nil {
		got["memory"], err = s.api.memory(resident)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.end())
	}
	return s, got, nil
}

// checkCount checks that the API counts so many jobs in its metrics, those of each action and state in a line.
func (s *system) checkCount(ctx context.Context, count int) error {
	resp, err := s.open(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	counted := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), "netlab_jobs{")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		counted += n
	}
	if counted != count {
		return fmt.Errorf("the API counts %d jobs, want %d", counted, count)
	}
	return nil
}

// roleBus is the server that netlab-api embeds, by itself.
func roleBus(ctx context.Context, config json.RawMessage, t *talk) error {
	dir, err := directory(config)
	if err != nil {
		return err
	}
	store, err := storeSettings()
	if err != nil {
		return err
	}
	server, err := embedded.Start(ctx, embedded.Config{
		Dir: dir, Listen: "127.0.0.1:0", SyncAlways: store.Sync.Always, SyncInterval: store.Sync.Interval, Log: slog.New(t.log),
	})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := t.ready(facts{"bus": server.URL(), "creds": server.CredsFile}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// readBare starts a process that reads the last message of each subject, and ends it when it has them.
func (b *bench) readBare(ctx context.Context, server *child, messages int) (got sample, err error) {
	start := time.Now()
	reader, err := b.start(ctx, "bare-read", server.facts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.end()) }()
	got = sample{"ready": milliseconds(start)}
	if got["cpu"], err = reader.cpuMilliseconds(); err != nil {
		return nil, err
	}
	if read := reader.facts["messages"]; read != strconv.Itoa(messages) {
		return nil, fmt.Errorf("%s messages, want %d", read, messages)
	}
	return got, nil
}

// roleBareRead is ready when it has read the last message of each subject of the stream of jobs.
func roleBareRead(ctx context.Context, config json.RawMessage, t *talk) error {
	var server facts
	if err := json.Unmarshal(config, &server); err != nil {
		return err
	}
	key, err := nats.NkeyOptionFromSeed(server["creds"])
	if err != nil {
		return err
	}
	conn, js, err := connectBare(server["bus"], key)
	if err != nil {
		return err
	}
	defer conn.Close()
	consumer, err := js.OrderedConsumer(ctx, "NETLAB_JOBS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{">"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return err
	}
	pending := consumer.CachedInfo().NumPending
	done := make(chan struct{})
	read := uint64(0)
	reading, err := consumer.Consume(func(jetstream.Msg) {
		if read++; read == pending {
			close(done)
		}
	})
	if err != nil {
		return err
	}
	defer reading.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
	}
	if err := t.ready(facts{"messages": strconv.FormatUint(pending, 10)}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// directory reads the configuration of a role that has nothing but a directory.
func directory(config json.RawMessage) (dir string, err error) {
	err = json.Unmarshal(config, &dir)
	return dir, err
}
