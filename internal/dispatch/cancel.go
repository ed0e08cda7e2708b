package dispatch

import (
	"context"
	"errors"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// EndedError is a job that has ended and so cannot be canceled.
type EndedError struct{ State jobs.State }

func (e *EndedError) Error() string {
	return "the job has ended as " + string(e.State) + " and cannot be canceled"
}

// canceledQueued is the error of a job that was canceled before any worker took it.
const canceledQueued = "canceled before it began"

// Cancel asks for the end of a job. The request is stored first: it may be heard late, and is not lost. A job that nobody has
// claimed ends at once; a running one ends when its worker has stopped it. Errors: view.ErrUnknown, *EndedError,
// bus.ErrUnavailable, bus.ErrFull.
func (d *Dispatcher) Cancel(ctx context.Context, id string) (jobs.Job, error) {
	job, err := d.view.Job(ctx, id)
	if err != nil {
		return job, err
	}
	if job.State.Terminal() {
		return job, &EndedError{State: job.State}
	}
	if err := d.view.Writable(); err != nil {
		return job, err
	}
	seq, err := d.bus.RequestCancel(ctx, job.Host, job.ID)
	switch {
	case errors.Is(err, bus.ErrEnded):
		err = d.foundMoved(ctx, job.Host, job.ID)
	case err == nil:
		d.view.CancelRequested(job.ID, seq)
	}
	if err != nil {
		return job, err
	}
	if job.State == jobs.Queued {
		if err := d.cancelQueued(ctx, job); err != nil {
			return job, err
		}
	}
	return d.view.Job(ctx, id)
}

// foundMoved takes in what has become of a job meanwhile: claimed by its worker, which has the request, or ended. The view may be
// behind, and its answer would be the state before. One that has ended otherwise than canceled is an *EndedError.
func (d *Dispatcher) foundMoved(ctx context.Context, host, id string) error {
	m, err := d.bus.LastStatus(ctx, host, id)
	if err != nil {
		return err
	}
	d.view.Moved(m)
	if m.State.Terminal() && m.State != jobs.Canceled {
		return &EndedError{State: m.State}
	}
	return nil
}

// cancelQueued ends the job unless its worker has claimed it meanwhile.
func (d *Dispatcher) cancelQueued(ctx context.Context, job jobs.Job) error {
	text := canceledQueued
	if err := job.Move(jobs.Cancel, time.Now()); err != nil {
		return err
	}
	job.Error, job.Reason, job.CancelRequested = &text, jobs.ReasonCanceled, true
	job.LogPath, job.LogBytes = "", 0
	seq, err := d.bus.CancelQueued(ctx, &job)
	if errors.Is(err, bus.ErrConflict) {
		return d.foundMoved(ctx, job.Host, job.ID)
	}
	if err != nil {
		return err
	}
	d.view.Moved(&bus.JobMessage{Job: job, Seq: seq})
	return nil
}
