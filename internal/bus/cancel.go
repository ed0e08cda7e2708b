package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/jobs"
)

// RequestCancel stores that the job is to be canceled, and returns the sequence of the request. A second one changes nothing. Its
// worker hears it at once, or reads it when it is back. ErrEnded: the job has ended, which the caller may not know yet; a request
// is never behind the end of its job.
//
// Whether there is one already is asked of the leader, here and in CancelRequested: a copy that is behind may have that of an earlier
// job of the id, which was let go.
func (b *Bus) RequestCancel(ctx context.Context, host, id string) (seq uint64, err error) {
	first, _, err := b.newest(ctx, jobsStream, publicSubject(host, id, kindCancel))
	if err == nil {
		return first.Seq, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	m := b.event(host, id, kindCancel, "netlab.job.cancel", "application/json", []byte(`{"id":"`+id+`"}`))
	status := publicSubject(host, id, kindStatus)
	for {
		last, err := b.unendedStatus(ctx, host, id)
		if err != nil {
			return 0, err
		}
		if seq, err = b.commit(ctx, jobsStream, m, status, status, last); !errors.Is(err, ErrConflict) {
			return seq, err
		}
	}
}

// unendedStatus is the sequence of the job's last state, 0 where it has none but its birth.
func (b *Bus) unendedStatus(ctx context.Context, host, id string) (uint64, error) {
	last, err := b.LastStatus(ctx, host, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case last.State.Terminal():
		return 0, ErrEnded
	}
	return last.Seq, nil
}

// CancelQueued ends a job that nobody has claimed: job is its terminal state. ErrConflict: it was claimed, or has ended.
func (b *Bus) CancelQueued(ctx context.Context, job *jobs.Job) (seq uint64, err error) {
	m, err := b.jobEvent(kindStatus, job, job)
	if err != nil {
		return 0, err
	}
	return b.commit(ctx, jobsStream, m, publicSubject(job.Host, job.ID, kindStatus), "", 0)
}

// CancelRequested says whether the stream has a cancel request for the job.
func (b *Bus) CancelRequested(ctx context.Context, host, id string) (bool, error) {
	_, _, err := b.newest(ctx, jobsStream, publicSubject(host, id, kindCancel))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// cancelsAgain is how often a host asks for cancel requests that it may not have heard: a way between two servers of the bus
// may be away while the host's own connection stands.
const cancelsAgain = 5 * time.Second

// FollowCancels calls heard with the id of each job of the host that is to be canceled, as its request is stored, until ctx
// ends. A request may be missed, such as one that is stored while the connection is away: again is called at the start, after
// each reconnect and every 5 s, for the caller to ask for the jobs that it has. Each of the two is called from one goroutine,
// and heard must not block for long.
func (b *Bus) FollowCancels(ctx context.Context, host string, heard func(id string), again func()) error {
	return b.followCancels(ctx, host, cancelsAgain, heard, again)
}

func (b *Bus) followCancels(ctx context.Context, host string, every time.Duration, heard func(id string), again func()) error {
	sub, err := b.nc.Subscribe(publicSubject(host, "*", kindCancel), func(m *nats.Msg) {
		if _, id, _, ok := subjectTokens(m.Subject); ok && jobs.ValidID(id) {
			heard(id)
		}
	})
	if err != nil {
		return fmt.Errorf("follow cancels: %w", translate(err))
	}
	defer func() { _ = sub.Unsubscribe() }()
	states := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer b.nc.RemoveStatusListener(states)
	tick := time.NewTicker(every)
	defer tick.Stop()
	again()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			again()
		case state, ok := <-states:
			if !ok || state == nats.CLOSED {
				return fmt.Errorf("follow cancels: %w: the connection is closed", ErrUnavailable)
			}
			again()
		}
	}
}
