package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

var (
	// errLost is a job that somebody else has moved: this worker has no say in it any more.
	errLost = errors.New("the job was moved by somebody else")
	// errOver is a job that has ended already.
	errOver = errors.New("the job has ended")
)

// reporter publishes the states of one job, each over the last.
type reporter struct {
	bus    *bus.Bus
	source string
	// taken is the source under which the job was taken, which a new identity changes.
	taken string

	// mu is held while a state is published. job is read without it by who publishes the next state.
	mu  sync.Mutex
	job jobs.Job
	seq uint64
	// stored is when the bus has stored the end of the job that an earlier worker of this host has published: job is that. Else it is the zero time.
	stored time.Time
	// doubt says that the bus may have lost some of what goes before a terminal state.
	doubt bool
}

// move applies an event and publishes the job. change sets what goes with it. errOver: its end is on the bus already, as this worker's. errAgain: the state is terminal, and it is to be looked
// first, once, whether the bus still has the birth and the log.
func (r *reporter) move(ctx context.Context, e jobs.Event, change func(*jobs.Job)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	job := r.job
	if err := job.Move(e, time.Now()); err != nil {
		return err
	}
	if change != nil {
		change(&job)
	}
	for {
		if r.doubt && job.State.Terminal() {
			r.doubt = false
			return errAgain
		}
		seq, err := r.bus.PublishStatus(ctx, &job, r.seq)
		if err == nil {
			r.job, r.seq = job, seq
			return nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		last, err := r.last(ctx)
		switch {
		case errors.Is(err, bus.ErrNotFound):
			// The stream was lost: this is the first it hears of the job.
			r.seq, r.doubt = 0, true
		case err != nil:
			return err
		case r.own(last.Source) && last.State.Terminal():
			return r.over(last)
		case !r.own(last.Source):
			return fmt.Errorf("%w: it is %s by %s", errLost, last.State, last.Source)
		case last.Seq != r.seq:
			// A publish of this worker's own whose answer it did not wait for, or what an API has told a stream that was lost.
			r.seq, r.doubt = last.Seq, true
			continue
		}
		// A server of a cluster that lags behind gave the answer.
		if err := pause(ctx, askAgain); err != nil {
			return err
		}
	}
}

// over takes in the end of the job that this worker, or one before it, has published.
func (r *reporter) over(last *bus.JobMessage) error {
	r.job, r.seq, r.stored = last.Job, last.Seq, last.Stored
	return fmt.Errorf("%w: it is %s", errOver, last.State)
}

// own says whether the source is this worker, also as it was called when it took the job.
func (r *reporter) own(source string) bool {
	return source == r.source || r.taken != "" && source == r.taken
}

// doubts takes in that the bus has lost something, before a terminal state is published.
func (r *reporter) doubts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubt = true
}

// confirm publishes the job's state again if the bus has lost it.
func (r *reporter) confirm(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bus.Retry(ctx, "status of job "+r.job.ID, func(ctx context.Context) error {
		if err := r.bus.Restore(ctx, &bus.Known{Job: r.job, Source: r.source}); err != nil {
			return err
		}
		last, err := r.bus.LastStatus(ctx, r.job.Host, r.job.ID)
		if err == nil && r.own(last.Source) {
			r.seq = last.Seq
		}
		return err
	})
}

// askAgain is how long is waited before the bus is asked again.
const askAgain = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// claim makes the job this worker's, or finds that it was already. resumed: the run began before. takeover is for a job that a
// worker had that this host does not have any more.
func (r *reporter) claim(ctx context.Context, takeover bool) (resumed bool, err error) {
	job := r.job
	if err := job.Move(jobs.Start, time.Now()); err != nil {
		return false, err
	}
	var last *bus.JobMessage
	for last == nil {
		seq, err := r.bus.PublishStatus(ctx, &job, 0)
		if err == nil {
			r.job, r.seq = job, seq
			return false, nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return false, err
		}
		last, err = r.last(ctx)
		if errors.Is(err, bus.ErrNotFound) {
			err = pause(ctx, askAgain)
		}
		if err != nil {
			return false, err
		}
	}
	switch {
	case last.State.Terminal() && r.own(last.Source):
		return false, r.over(last)
	case last.State.Terminal():
		return false, fmt.Errorf("%w: %w: it is %s by %s", errLost, errOver, last.State, last.Source)
	case last.State != jobs.Running || !takeover && !r.own(last.Source):
		return false, fmt.Errorf("%w: it is %s by %s", errLost, last.State, last.Source)
	}
	r.job, r.seq = last.Job, last.Seq
	return true, nil
}

func (r *reporter) last(ctx context.Context) (last *bus.JobMessage, err error) {
	err = r.bus.Retry(ctx, "last status of job "+r.job.ID, func(ctx context.Context) error {
		last, err = r.bus.LastStatus(ctx, r.job.Host, r.job.ID)
		return err
	})
	return last, err
}
