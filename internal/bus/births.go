package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/jobs"
)

// Birth is the request message: the job as it is queued, and what only its host may read.
type Birth struct {
	jobs.Job
	// Topology is the text of an inline topology that is small enough for the message.
	Topology string `json:"topologyText,omitempty"`
	// Object is the larger topology, or the bundle, that was put for the job before its birth.
	Object *ObjectRef `json:"object,omitempty"`
	// SealedURL is where the host fetches the topology. It is sealed, because its query may be a secret.
	SealedURL *Sealed `json:"sealedUrl,omitempty"`
	// Keep are patterns of the files below the working directory that are copied into the store of objects at the job's end.
	Keep []string `json:"keep,omitempty"`
	// Sealed holds the secret environment, readable by the host alone.
	Sealed *Sealed `json:"sealed,omitempty"`
	// JSON is the birth as it is stored, once it is.
	JSON []byte `json:"-"`
	// Fingerprint tells the payload from others, where the id is made of a key that may come again. It gives nothing away.
	Fingerprint string `json:"fingerprint,omitempty"`
}

const (
	// statusRoom is what a job's later states may need beyond its birth: times, a phase, an error.
	statusRoom = 64 << 10
	// birthShare is how much of the stream of jobs, in percent, may be taken when a job is born. The rest is for the states of the
	// jobs that it has: one whose states find no room would stand still.
	birthShare = 90
	// submitAttempt is how long a birth may stay unanswered before it is sent again.
	submitAttempt = time.Second
)

// Submit gives birth to the job: one publish, checked to be the first of its id on any host. ErrConflict: the id exists.
// ErrTooLarge: its later states would not fit into a message. It returns the birth's sequence, which orders the jobs of the
// whole fleet.
//
// ErrFull: the stream has no room for more jobs.
//
// ErrUnavailable: there is no job, unless the error says that there may be one, because a try was not answered.
func (b *Bus) Submit(ctx context.Context, birth *Birth) (seq uint64, err error) {
	if b.crowded.Load() {
		return 0, fmt.Errorf("%w: what is left of its room (NETLAB_BUS_JOBS_BYTES) is for the jobs that it has; ended ones are let go", ErrFull)
	}
	m, err := b.jobEvent(kindRequest, &birth.Job, birth)
	if err != nil {
		return 0, err
	}
	if len(m.Data) > MaxMessage-statusRoom {
		if err := leavesRoom(&birth.Job); err != nil {
			return 0, err
		}
	}
	b.given.add(&birth.Job, m.Data)
	defer func() {
		if err != nil {
			b.given.drop(birth.ID)
		}
	}()
	// Of a job that is just being let go the birth goes first: its id is free when all the rest of it has gone.
	stored, free := publicSubject("*", birth.ID, kindRequest), publicSubject("*", birth.ID, "*")
	for doubtful := false; ; {
		attempt, cancel := context.WithTimeout(ctx, submitAttempt)
		seq, err = b.commit(attempt, jobsStream, m, stored, free, 0)
		unanswered := attempt.Err() != nil || errors.Is(err, errBehind)
		cancel()
		doubtful = doubtful || unanswered
		switch {
		case err == nil:
			birth.JSON = m.Data
			return seq, nil
		case !doubtful, errors.Is(err, ErrConflict): // which proves that the birth that is there is another one
			return 0, err
		case !unanswered, ctx.Err() != nil, !errors.Is(err, ErrUnavailable):
			return 0, doubted(err, birth.ID)
		}
	}
}

// doubted is the error of a birth of which one try at least may have been stored.
func doubted(err error, id string) error {
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // what ended the last try says nothing of the ones before
	}
	return fmt.Errorf("%w; the job may have been accepted as %s", err, id)
}

// leavesRoom returns ErrTooLarge where the later states of the job would not fit into a message.
func leavesRoom(job *jobs.Job) error {
	shown, err := jobs.Encode(job)
	if err != nil {
		return fmt.Errorf("job %s: %w", job.ID, err)
	}
	if size := len(shown); size > MaxMessage-statusRoom {
		return fmt.Errorf("%w: the job has %d bytes, at most %d", ErrTooLarge, size, MaxMessage-statusRoom)
	}
	return nil
}

// FindJob reads a job that may have been born a moment ago elsewhere: its last status, or its birth. ErrNotFound: no such job.
func (b *Bus) FindJob(ctx context.Context, id string) (*JobMessage, error) {
	for _, kind := range []string{kindStatus, kindRequest} {
		m, h, err := b.newest(ctx, jobsStream, publicSubject("*", id, kind))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		job, err := decodeJob(h, m.Data, m.Seq, kind)
		if err != nil || job.ID != id {
			b.log.Error("bus: unreadable message", "job", id, "kind", kind, "error", err)
			continue
		}
		job.Stored = m.Time
		return job, nil
	}
	return nil, ErrNotFound
}

// FindBirth reads the birth of a job on whatever host. ErrNotFound: there is none.
func (b *Bus) FindBirth(ctx context.Context, id string) (*Birth, error) {
	m, _, err := b.newest(ctx, jobsStream, publicSubject("*", id, kindRequest))
	if err != nil {
		return nil, err
	}
	birth := &Birth{}
	if err := jobs.Decode(m.Data, birth); err != nil {
		return nil, fmt.Errorf("birth of job %s: %w", id, err)
	}
	if birth.ID != id {
		return nil, fmt.Errorf("birth of job %s: it is of job %q", id, birth.ID)
	}
	return birth, nil
}

// Birth reads the birth of a job of the host, with its place in the order of arrival. ErrNotFound: there is none.
func (b *Bus) Birth(ctx context.Context, host, id string) (*Birth, uint64, error) {
	m, _, err := b.newest(ctx, jobsStream, publicSubject(host, id, kindRequest))
	if err != nil {
		return nil, 0, err
	}
	birth, err := decodeBirth(publicSubject(host, id, kindRequest), m.Data)
	if err != nil {
		return nil, 0, fmt.Errorf("birth of job %s: %w", id, err)
	}
	return birth, m.Seq, nil
}

// JobMessage is one message of a job's life as the jobs stream holds it.
type JobMessage struct {
	jobs.Job
	// Seq is the message's sequence in the stream. Of two messages of a job, the higher one is the newer state.
	Seq uint64
	// Birth tells a request from a status.
	Birth bool
	// Born is the sequence of the birth before it that was not read, see FollowJobs; 0 where there is none.
	Born uint64
	// Source is the Config.Source of who published it.
	Source string
	// JSON is the job as it is stored.
	JSON []byte
	// Made is when the stream was made, where that is followed.
	Made time.Time
	// Stored is when the bus stored it, by the bus's clock. It is the zero time where the bus has not said it.
	Stored time.Time
}

func decodeJob(h nats.Header, data []byte, seq uint64, kind string) (*JobMessage, error) {
	m := &JobMessage{Seq: seq, Birth: kind == kindRequest, Source: h.Get(headerSource), JSON: data}
	if err := jobs.Decode(data, &m.Job); err != nil {
		return nil, fmt.Errorf("message %d of the jobs stream: %w", seq, err)
	}
	if !slices.Contains(jobs.States, m.State) {
		return nil, fmt.Errorf("message %d of the jobs stream: state %q", seq, m.State)
	}
	return m, nil
}
