package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// hostsTogether is how many hosts have their workers in one process, and come at once: a process for each would measure the machine, and
// what it takes when all come at once is another question.
const hostsTogether = 100

// prepareHosts starts an API and so many workers, which run no Netlab.
func prepareHosts(ctx context.Context, b *bench, count int) (*stage, error) {
	if err := needFiles(10*uint64(count) + 1000); err != nil {
		return nil, err
	}
	s, err := b.startSystem(ctx, nil)
	if err != nil {
		return nil, err
	}
	for online := 0; online < count; {
		w := noopWorker{Slots: jobsSlots}
		for ; online < count && len(w.Hosts) < hostsTogether; online++ {
			w.Hosts = append(w.Hosts, "bench-"+strconv.Itoa(online+1))
		}
		err := b.addNoopWorkers(ctx, s, s.api, w)
		if err == nil {
			err = s.awaitHosts(ctx, online)
		}
		if err != nil {
			return nil, errors.Join(err, s.end())
		}
	}
	n := b.amount(1000, 10)
	if _, err := s.runJobs(ctx, "warm", n/5); err != nil {
		return nil, errors.Join(err, s.end())
	}
	round := 0
	measure := func(ctx context.Context) (sample, error) {
		round++
		return s.timeFleet(ctx, fmt.Sprintf("round%d-", round), n, b.amount(100, 3))
	}
	return &stage{measure, s.end}, nil
}

// timeFleet runs so many jobs that do nothing, then reads the list of hosts so often.
func (s *system) timeFleet(ctx context.Context, name string, count, reads int) (sample, error) {
	var ids []string
	got, err := costOf(count, func() (elapsed time.Duration, err error) {
		ids, elapsed, err = s.timeJobs(ctx, name, count)
		return elapsed, err
	}, s.processes()...)
	if err != nil {
		return nil, err
	}
	if err := s.checkJobs(ctx, ids); err != nil {
		return nil, err
	}
	if got["list"], err = s.timeGet(ctx, "/hosts", reads); err != nil {
		return nil, err
	}
	got["memory"], err = s.api.memory(resident)
	return got, err
}
