package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"golang.org/x/sync/errgroup"

	"netlab-runner/internal/jobs"
)

// The log that is followed grows by 100 kB a second.
const (
	burst      = 10_000
	burstEvery = 100 * time.Millisecond
)

// measureFollowers measures what it costs the API that many follow one log while it grows, each of whom must have got all of it.
// Each round has new processes: the most memory that one had never gets less.
func measureFollowers(ctx context.Context, b *bench) ([]row, error) {
	count, bursts := b.amount(1000, 20), b.amount(80, 5)
	if err := needFollowers(count); err != nil {
		return nil, err
	}
	r, err := b.inTurns(ctx, "followers",
		side{"many", func(ctx context.Context) (sample, error) { return b.followGrowing(ctx, count, bursts) }},
		side{"none", func(ctx context.Context) (sample, error) { return b.followGrowing(ctx, 0, bursts) }},
	)
	if err != nil {
		return nil, err
	}
	return []row{
		{
			fmt.Sprintf("memory of the API, %d followers of a log of 100 kB/s", count), "MiB", less,
			r.of("many", "memory"), r.of("none", "memory"), "the same log with no follower",
		},
		{Name: "  processor time of the API", Unit: "% of a core", Better: less, Here: r.of("many", "cpu")},
	}, nil
}

// needFollowers says what is missing for so many followers. The API has a connection for each and may have the log open for it; the rest
// is its own.
func needFollowers(count int) error { return needFiles(2*uint64(count) + 1000) }

// followGrowing runs a job that writes so many bursts while so many follow its log.
func (b *bench) followGrowing(ctx context.Context, count, bursts int) (got sample, err error) {
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 1, Ticks: bursts, Every: burstEvery, Burst: burst})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	seed := maphash.MakeSeed()
	var job jobs.Job
	var texts []received
	share, err := shareOf(func() error {
		// Nobody asks meanwhile where nobody follows: that would be memory too.
		end := time.After(time.Duration(bursts) * burstEvery)
		if job, err = s.submit(ctx, s.createJob("followed")); err != nil {
			return err
		}
		if texts, err = s.followBy(ctx, count, job.ID, seed); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return s.awaitDone(ctx)
		}
	}, s.api)
	if err != nil {
		return nil, err
	}
	memory, err := s.api.memory(mostResident)
	if err != nil {
		return nil, err
	}
	return sample{"memory": memory, "cpu": share},
		errors.Join(s.succeeded(ctx, job.ID), s.checkTexts(ctx, job.ID, int64(bursts)*burst, texts, seed))
}

// received stands for what a follower has got.
type received struct {
	size int64
	sum  uint64
}

// followText follows a log to its end.
func (s *system) followText(ctx context.Context, id string, seed maphash.Seed) (received, error) {
	var sum maphash.Hash
	sum.SetSeed(seed)
	size, err := s.follow(ctx, id, func(block []byte) { _, _ = sum.Write(block) }) // which never fails
	return received{size, sum.Sum64()}, err
}

// followBy has so many follow a log to its end.
func (s *system) followBy(ctx context.Context, count int, id string, seed maphash.Seed) ([]received, error) {
	texts := make([]received, count)
	followers, ctx := errgroup.WithContext(ctx)
	for i := range texts {
		followers.Go(func() (err error) {
			texts[i], err = s.followText(ctx, id, seed)
			return err
		})
	}
	return texts, followers.Wait()
}

// checkTexts checks that the log is at least so long and that each of the texts is the whole log.
func (s *system) checkTexts(ctx context.Context, id string, least int64, texts []received, seed maphash.Seed) error {
	whole, err := s.followText(ctx, id, seed)
	if err != nil {
		return err
	}
	if whole.size < least {
		return fmt.Errorf("log of job %s: %d bytes, want %d at least", id, whole.size, least)
	}
	for i, t := range texts {
		if t != whole {
			return fmt.Errorf("follower %d has %d bytes that are not the log of %d bytes", i, t.size, whole.size)
		}
	}
	return nil
}

// pause returns after the time, or when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// prepareFollowers is the same for any number of followers: each time has new processes.
func prepareFollowers(_ context.Context, b *bench, count int) (*stage, error) {
	if err := needFollowers(count); err != nil {
		return nil, err
	}
	measure := func(ctx context.Context) (sample, error) { return b.followGrowing(ctx, count, b.amount(80, 5)) }
	return &stage{measure, func() error { return nil }}, nil
}
