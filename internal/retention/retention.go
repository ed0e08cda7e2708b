// Package retention lets go what has been kept for long enough: jobs that have ended, with their states, logs and kept files on
// the bus and their logs in this API's files; and what belongs to no job any more.
//
// Every API does it, and it makes no difference which of them is first.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

const (
	// jobsEvery is how often it is looked for jobs to let go: how fast a stream may fill up decides.
	jobsEvery = 5 * time.Second
	// objectsEvery is how often the objects of jobs that have ended are removed.
	objectsEvery = time.Minute
	// filesEvery is how often it is looked for logs of no job.
	filesEvery = time.Hour
	// strayAge is how old those become where jobs have no age.
	strayAge = 30 * 24 * time.Hour
	// grace is how long a job stays after this API has heard of its end, whatever else is said: who waits for the end is to see it.
	grace = time.Minute
)

// Config says what is kept for how long.
type Config struct {
	Bus  *bus.Bus
	View *view.View
	Logs *logfile.Store
	// Age is how long a job is kept after its end; 0: for ever.
	Age time.Duration
	// Jobs is how many jobs that have ended are kept; 0: all.
	Jobs int
	Log  *slog.Logger
}

// Keeper lets go what one API knows.
type Keeper struct {
	config Config
	// every and grace are the constants, others in tests, and so are the clocks: ours, by which files have their times, that of the bus, and
	// what has passed since a time of ours.
	every, grace time.Duration
	now, busNow  func() time.Time
	since        func(time.Time) time.Duration
}

// New returns a keeper that does nothing until Run.
func New(c Config) *Keeper {
	return &Keeper{config: c, every: jobsEvery, grace: grace, now: time.Now, busNow: c.Bus.Now, since: time.Since}
}

// Run lets go until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	var objects, files time.Time // when they were last looked at
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A bus that has lost what it had is no reason to let go anything.
		if !k.config.View.CaughtUp() || k.config.View.Writable() != nil {
			continue
		}
		k.try(ctx, "jobs", k.LetGo)
		if time.Since(objects) >= objectsEvery {
			objects = time.Now()
			k.try(ctx, "objects of jobs", k.SweepObjects)
		}
		if time.Since(files) >= filesEvery {
			files = time.Now()
			k.try(ctx, "logs of no job", k.SweepFiles)
		}
	}
}

// try says what failed, unless it is the bus that is away, or another API that is doing the same.
func (k *Keeper) try(ctx context.Context, what string, f func(context.Context) error) {
	err := f(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, bus.ErrUnavailable) && !errors.Is(err, bus.ErrConflict) {
		k.config.Log.Warn("retention: not let go, trying again", "what", what, "error", err)
	}
}

// SweepObjects removes what came with jobs that have ended, and what is of no job.
func (k *Keeper) SweepObjects(ctx context.Context) error {
	return k.config.Bus.SweepObjects(ctx, func(id string) bus.Needs {
		job, err := k.config.View.Job(ctx, id)
		if errors.Is(err, view.ErrUnknown) {
			return bus.Needs{}
		}
		lives := err != nil || !job.State.Terminal()
		// Of a job that has ended with nothing kept, what is there is of a try that was given up.
		return bus.Needs{Known: true, Input: lives, Kept: lives || job.Kept != nil}
	})
}

// SweepFiles removes the logs of jobs that neither this API nor the bus knows: let go while this API was away, or of another bus.
// They stay for as long as the job would: the bus may be the wrong one.
func (k *Keeper) SweepFiles(ctx context.Context) error {
	age := k.config.Age
	if age == 0 {
		age = strayAge
	}
	ids, err := k.config.Logs.Unchanged(k.now().Add(-age))
	if err != nil {
		return err
	}
	for _, id := range ids {
		_, err := k.config.View.Job(ctx, id)
		if errors.Is(err, view.ErrUnknown) {
			err = k.config.Logs.Remove(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
