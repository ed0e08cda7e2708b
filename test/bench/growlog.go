package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// prepareLog has a job end with a log of so many MiB. Each time a new API, which has the log in its file, is asked for all of it. The server
// is a process of its own: at its start it reads what was stored in the last minutes, which would be the most memory of all.
func prepareLog(ctx context.Context, b *bench, mebibytes int) (*stage, error) {
	server, err := b.startBus(ctx)
	if err != nil {
		return nil, err
	}
	s, id, err := b.writeLog(ctx, server, int64(mebibytes)*mebibyte)
	if err != nil {
		return nil, errors.Join(err, server.end())
	}
	measure := func(ctx context.Context) (got sample, err error) {
		reader, err := b.launchIn(ctx, s.dir, busArguments(server))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, reader.end()) }()
		if err := reader.awaitNewest(ctx, id); err != nil {
			return nil, err
		}
		return reader.timeLog(ctx, id, int64(mebibytes)*mebibyte)
	}
	return &stage{measure, server.end}, nil
}

// writeLog has a job write a log of so many bytes and end, on a system with this server that ends then.
func (b *bench) writeLog(ctx context.Context, server *child, size int64) (s *system, id string, err error) {
	if s, err = b.launch(ctx, busArguments(server)); err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := b.addNoopWorkers(ctx, s, server, noopWorker{Hosts: []string{"bench"}, Slots: 1, Flood: size}); err != nil {
		return nil, "", err
	}
	if err := s.awaitHosts(ctx, 1); err != nil {
		return nil, "", err
	}
	ids, err := s.runJobs(ctx, "log", 1)
	if err != nil {
		return nil, "", err
	}
	return s, ids[0], nil
}

// timeLog follows a log of at least so many bytes, and takes the time from its first byte to its last one and the most memory that the API
// had until then.
func (s *system) timeLog(ctx context.Context, id string, least int64) (sample, error) {
	var first time.Time
	size, err := s.follow(ctx, id, func([]byte) {
		if first.IsZero() {
			first = time.Now()
		}
	})
	if err != nil {
		return nil, err
	}
	if size < least {
		return nil, fmt.Errorf("log of job %s: %d bytes, want %d at least", id, size, least)
	}
	took := milliseconds(first)
	memory, err := s.api.memory(mostResident)
	return sample{"time": took, "memory": memory}, err
}
