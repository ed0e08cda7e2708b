package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// errLost is a job that somebody else has moved: this worker has no say in it any more.
var errLost = errors.New("the job was moved by somebody else")

// reporter publishes the states of one job, each over the last. It is used by one goroutine at a time.
type reporter struct {
	bus    *bus.Bus
	source string
	job    jobs.Job
	seq    uint64
}

// move applies an event and publishes the job. change sets what goes with it.
func (r *reporter) move(ctx context.Context, e jobs.Event, change func(*jobs.Job)) error {
	job := r.job
	if err := job.Move(e, time.Now()); err != nil {
		return err
	}
	if change != nil {
		change(&job)
	}
	for {
		seq, err := r.bus.PublishStatus(ctx, &job, r.seq)
		if err == nil {
			r.job, r.seq = job, seq
			return nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		last, err := r.last(ctx)
		if err != nil {
			return err
		}
		// A publish of this worker's own whose answer it did not wait for.
		if last.Source != r.source || last.State.Terminal() || last.Seq == r.seq {
			return fmt.Errorf("%w: it is %s by %s", errLost, last.State, last.Source)
		}
		r.seq = last.Seq
	}
}

// claim makes the job this worker's, or finds that it was already. resumed: the run began before.
func (r *reporter) claim(ctx context.Context) (resumed bool, err error) {
	job := r.job
	if err := job.Move(jobs.Start, time.Now()); err != nil {
		return false, err
	}
	seq, err := r.bus.PublishStatus(ctx, &job, 0)
	if err == nil {
		r.job, r.seq = job, seq
		return false, nil
	}
	if !errors.Is(err, bus.ErrConflict) {
		return false, err
	}
	last, err := r.last(ctx)
	if err != nil {
		return false, err
	}
	if last.Source != r.source || last.State != jobs.Running {
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
