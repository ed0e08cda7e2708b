package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// The horizon is a time, by the bus's clock: the jobs whose ends the bus stored then or before are let go. It is written before
// any of them is purged. So every API comes to forget the same jobs, whichever has purged them, and what a crash has left of one
// goes later. A time means the same on a stream that was lost and made anew, which a sequence does not: there jobs are forgotten
// because the horizon says so, and never because the bus does not have them.

// horizonSubject is where the horizon is stored.
const horizonSubject = "$KV." + retentionBucket + ".horizon"

// headerRemoved is of the message that says that the key of a bucket was removed.
const headerRemoved = "KV-Operation"

// Horizon is up to when ended the jobs that were let go; the zero time where none was.
func (b *Bus) Horizon(ctx context.Context) (time.Time, error) {
	at, _, err := b.horizon(ctx)
	return at, err
}

// horizon returns the sequence of its message too.
func (b *Bus) horizon(ctx context.Context) (at time.Time, seq uint64, err error) {
	m, h, err := b.newest(ctx, retentionStream, horizonSubject)
	if errors.Is(err, ErrNotFound) {
		return at, 0, nil
	}
	if err != nil {
		return at, 0, err
	}
	if h.Get(headerRemoved) != "" {
		return at, m.Seq, nil
	}
	if err := at.UnmarshalText(m.Data); err != nil {
		return at, 0, fmt.Errorf("key horizon of the bucket %s: %w; remove it: nats kv del %s horizon", retentionBucket, err, retentionBucket)
	}
	return at, m.Seq, nil
}

// MoveHorizon moves the horizon on. One that is there already or later stays. ErrConflict: another API has just moved it.
func (b *Bus) MoveHorizon(ctx context.Context, to time.Time) error {
	at, seq, err := b.horizon(ctx)
	if err != nil || !to.After(at) {
		return err
	}
	m := nats.NewMsg(horizonSubject)
	if m.Data, err = to.UTC().MarshalText(); err != nil {
		return err
	}
	return b.setHorizon(ctx, m, seq)
}

// DropHorizon removes the horizon that is at this time. Another one stays. ErrConflict as of MoveHorizon.
func (b *Bus) DropHorizon(ctx context.Context, from time.Time) error {
	at, seq, err := b.horizon(ctx)
	if err != nil || !at.Equal(from) {
		return err
	}
	m := nats.NewMsg(horizonSubject)
	m.Header.Set(headerRemoved, "DEL")
	return b.setHorizon(ctx, m, seq)
}

func (b *Bus) setHorizon(ctx context.Context, m *nats.Msg, last uint64) error {
	m.Header[headerEventID] = []string{uuid.NewString()}
	_, err := b.commit(ctx, retentionStream, m, horizonSubject, "", last)
	return err
}

// LetGo purges all that the bus has of a job that has ended. What the stream of jobs has of it is at the sequence upTo or before,
// and what it has of a later job of the same id is behind. It may be done again, by any API, whatever was done before.
func (b *Bus) LetGo(ctx context.Context, job *jobs.Job, upTo uint64) error {
	log, status := publicSubject(job.Host, job.ID, kindLog), publicSubject(job.Host, job.ID, kindStatus)
	chunk, err := b.lastSeq(ctx, logsStream, log)
	if err != nil {
		return err
	}
	// The terminal state goes last, and until then the id is not free: what was read before is of this job.
	if end, err := b.lastSeq(ctx, jobsStream, status); err != nil || end == 0 || end > upTo {
		return err
	}
	if chunk > 0 {
		if err := b.purge(ctx, logsStream, log, chunk); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	if job.Kept != nil {
		if err := b.PurgeKept(ctx, job.Host, job.ID); err != nil {
			return fmt.Errorf("kept files: %w", err)
		}
	}
	// A birth without a terminal state would be a job in the queue, and its worker might find it.
	if err := b.purge(ctx, jobsStream, publicSubject(job.Host, job.ID, kindRequest), upTo); err != nil {
		return fmt.Errorf("birth: %w", err)
	}
	if err := b.purge(ctx, jobsStream, publicSubject(job.Host, job.ID, "*"), upTo); err != nil {
		return fmt.Errorf("states: %w", err)
	}
	return nil
}

// Standing is what the bus has of a job that somebody else still knows.
type Standing int

// A job is there, or was lost, or was let go.
const (
	Stored Standing = iota
	Lost
	LetGo
)

// StandingOf says how it stands with a job. since is when it ended, or a time at which it had not ended yet.
func (b *Bus) StandingOf(ctx context.Context, job *jobs.Job, since time.Time) (Standing, error) {
	birth, _, err := b.Birth(ctx, job.Host, job.ID)
	switch {
	case err == nil && birth.CreatedAt.After(job.CreatedAt):
		return LetGo, nil // its Idempotency-Key has made another one
	case err == nil:
		return Stored, nil
	case !errors.Is(err, ErrNotFound):
		return Stored, err
	}
	horizon, err := b.Horizon(ctx)
	if err != nil || horizon.Before(since) {
		return Lost, err
	}
	return LetGo, nil
}

// purge removes what a stream has under subject, which may have wildcards, up to the sequence upTo; 0: all.
func (b *Bus) purge(ctx context.Context, stream, subject string, upTo uint64) error {
	question := jetstream.StreamPurgeRequest{Subject: subject}
	if upTo > 0 {
		question.Sequence = upTo + 1 // which stays
	}
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	// Not by the stream's own handle, which costs a question more each time.
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, b.apiPrefix+".STREAM.PURGE."+stream, text)
	if err != nil {
		return translate(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("purge of %s: %w", stream, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("purge of %s: %w", stream, translate(answer.Error))
	}
	return nil
}
