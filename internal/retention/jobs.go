package retention

import (
	"context"
	"fmt"
	"time"

	"netlab-runner/internal/view"
)

const (
	// batch is how many jobs are let go before it is looked again what has to be.
	batch = 20
	// mostAtOnce bounds one LetGo, so that everything else has its turn.
	mostAtOnce = 5000
	// clockSkew is how much the clocks of the bus's servers may differ. A horizon lies grace behind the clock of the one by which it was moved.
	clockSkew = time.Minute
)

// LetGo lets go the jobs that are older than the age, more than the number, or in the way on a stream that fills up: always those
// whose ends are the oldest, and never one that has not ended.
func (k *Keeper) LetGo(ctx context.Context) error {
	early := newRooms()
	gone, err := k.letGo(ctx, early)
	if gone > 0 {
		k.config.Log.Info("jobs were let go", "jobs", gone)
		early.warn(k.config.Log)
	}
	return err
}

func (k *Keeper) letGo(ctx context.Context, early *rooms) (gone int, err error) {
	if k.busNow().IsZero() {
		return 0, nil // nothing is known of what is old
	}
	horizon, err := k.horizon(ctx)
	if err != nil {
		return 0, err
	}
	for gone < mostAtOnce {
		began := time.Now()
		due := k.due(ctx, horizon, early)
		if len(due) == 0 {
			return gone, nil
		}
		if last := k.horizonBehind(&due[len(due)-1]); last.After(horizon) {
			if err := k.config.Bus.MoveHorizon(ctx, last); err != nil {
				return gone, err
			}
			horizon = last
		}
		for i := range due {
			if err := k.letGoOne(ctx, &due[i]); err != nil {
				return gone, fmt.Errorf("job %s: %w", due[i].Job.ID, err)
			}
			gone++
		}
		if err := pause(ctx, time.Since(began)); err != nil { // the bus has others to serve
			return gone, err
		}
	}
	return gone, nil
}

// due are the next jobs to be let go, all of which ended before those that stay.
func (k *Keeper) due(ctx context.Context, horizon time.Time, early *rooms) []view.Ended {
	oldest, total, kept := k.config.View.Ended(batch)
	if len(oldest) == 0 {
		return nil
	}
	early.measure(k.config.Bus.StreamSizes(ctx), kept)
	inTheWay := early.inTheWay(oldest)
	now := k.busNow()
	for i := range oldest {
		heard := k.since(oldest[i].Heard) // what has passed: all clocks may be set
		age := max(now.Sub(oldest[i].At), heard)
		expired := k.config.Age > 0 && age > k.config.Age ||
			k.config.Jobs > 0 && total-i > k.config.Jobs ||
			i < inTheWay
		if heard < k.grace || oldest[i].At.After(horizon) && !expired {
			return oldest[:i]
		}
	}
	return oldest
}

// horizon is the one that the bus has. One that lies ahead was moved while a clock was: all jobs would go until it is passed.
func (k *Keeper) horizon(ctx context.Context) (time.Time, error) {
	at, err := k.config.Bus.Horizon(ctx)
	if err != nil || !k.isAhead(at) {
		return at, err
	}
	// What is known of the bus's clock stood still if this machine did.
	if _, err := k.config.Bus.JobsSequence(ctx); err != nil || !k.isAhead(at) {
		return at, err
	}
	k.config.Log.Warn("retention: the clock of the bus was set back: which jobs were let go lies ahead and is forgotten", "until", at)
	return time.Time{}, k.config.Bus.DropHorizon(ctx, at)
}

func (k *Keeper) isAhead(horizon time.Time) bool { return horizon.Sub(k.busNow()) > clockSkew }

// horizonBehind is where the horizon may be when the job and those before it are let go: none that stays lies before it.
func (k *Keeper) horizonBehind(last *view.Ended) time.Time {
	at := last.At
	if !last.Next.IsZero() && !at.Before(last.Next) {
		at = last.Next.Add(-1)
	}
	if latest := k.busNow().Add(-k.grace); at.After(latest) {
		at = latest
	}
	return at
}

// letGoOne has the bus let go the job before this API does: one that is asked for in between is shown as it was.
func (k *Keeper) letGoOne(ctx context.Context, e *view.Ended) error {
	if err := k.config.Bus.LetGo(ctx, &e.Job, e.UpTo); err != nil {
		return err
	}
	k.config.View.Forget(e)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
