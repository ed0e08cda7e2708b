package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/jobs"
)

// Birth is the request message: the job as it is queued, and what only its host may read.
type Birth struct {
	jobs.Job
	// Topology is the text of an inline topology.
	Topology string `json:"topologyText,omitempty"`
	// Sealed holds the secret environment, readable by the host alone.
	Sealed *Sealed `json:"sealed,omitempty"`
}

// Submit gives birth to the job: one publish, checked to be the first of its id on any host. ErrConflict: the id exists.
// It returns the birth's sequence, which orders the jobs of the whole fleet.
func (b *Bus) Submit(ctx context.Context, birth *Birth) (seq uint64, err error) {
	m, err := b.jobEvent(kindRequest, &birth.Job, birth)
	if err != nil {
		return 0, err
	}
	stored := publicSubject(birth.Host, birth.ID, kindRequest)
	return b.commit(ctx, jobsStream, m, stored, publicSubject("*", birth.ID, kindRequest), 0)
}

// FindJob reads a job that may have been born a moment ago elsewhere: its last status, or its birth. ErrNotFound: no such job.
func (b *Bus) FindJob(ctx context.Context, id string) (*JobMessage, error) {
	for _, kind := range []string{kindStatus, kindRequest} {
		m, err := b.lastMessage(ctx, jobsStream, publicSubject("*", id, kind))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return decodeJob(m.Header, m.Data, sequenceOf(m), kind)
	}
	return nil, ErrNotFound
}

// JobMessage is one message of a job's life as the jobs stream holds it.
type JobMessage struct {
	jobs.Job
	// Seq is the message's sequence in the stream. Of two messages of a job, the higher one is the newer state.
	Seq uint64
	// Birth tells a request from a status.
	Birth bool
	// Source is the Config.Source of who published it.
	Source string
}

func decodeJob(h nats.Header, data []byte, seq uint64, kind string) (*JobMessage, error) {
	m := &JobMessage{Seq: seq, Birth: kind == kindRequest, Source: h.Get(headerSource)}
	if err := json.Unmarshal(data, &m.Job); err != nil {
		return nil, fmt.Errorf("message %d of the jobs stream: %w", seq, err)
	}
	return m, nil
}
