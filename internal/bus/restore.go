package bus

import (
	"context"
	"errors"
	"fmt"

	"netlab-runner/internal/jobs"
)

// Known is a job as somebody knows it, of which the stream may have nothing any more.
type Known struct {
	// Job is its newest state.
	Job jobs.Job
	// Source is the Config.Source of who published that.
	Source string
	// Request is the JSON of its birth, kept while it is queued: only that has what its host alone may read.
	Request []byte
	// Canceled says that somebody has asked for its end.
	Canceled bool
}

// Restore brings the stream up to what is known of a job, and leaves alone what it knows better. Several programs may do this at
// once. The birth of a job that was claimed is its newest state: whoever is given it knows that it is not to be run.
func (b *Bus) Restore(ctx context.Context, k *Known) error {
	job := &k.Job
	// The state first: a birth alone would be taken for a job to run.
	if job.State != jobs.Queued {
		if err := b.restoreStatus(ctx, k); err != nil {
			return err
		}
	}
	m, err := b.jobEvent(kindRequest, job, job)
	if err != nil {
		return err
	}
	if job.State == jobs.Queued {
		if m.Data = k.Request; len(m.Data) == 0 {
			return fmt.Errorf("job %s: its request is not known", job.ID)
		}
	}
	_, err = b.commit(ctx, jobsStream, m, publicSubject(job.Host, job.ID, kindRequest), publicSubject("*", job.ID, kindRequest), 0)
	if err = beaten(err); err != nil || !k.Canceled || job.State.Terminal() {
		return err
	}
	// Behind the birth: who reads the stream has to know the job.
	if _, err = b.RequestCancel(ctx, job.Host, job.ID); errors.Is(err, ErrEnded) {
		return nil
	}
	return err
}

func (b *Bus) restoreStatus(ctx context.Context, k *Known) error {
	job, expected := &k.Job, uint64(0)
	last, err := b.LastStatus(ctx, job.Host, job.ID)
	switch {
	case err == nil && (last.State.Terminal() || !job.State.Terminal()):
		return nil // its worker brings it up to date
	case err == nil:
		expected = last.Seq
	case !errors.Is(err, ErrNotFound):
		return err
	}
	m, err := b.jobEvent(kindStatus, job, job)
	if err != nil {
		return err
	}
	m.Header[headerSource] = []string{k.Source}
	_, err = b.commit(ctx, jobsStream, m, publicSubject(job.Host, job.ID, kindStatus), "", expected)
	return beaten(err)
}

// beaten is nil where somebody else has published the same before.
func beaten(err error) error {
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}
