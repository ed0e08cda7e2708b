package bus

import (
	"bytes"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// maxGiven bounds the births that are kept until they come back.
const maxGiven = 1024

// given are births of this program's own that have not come back from the stream yet, by the jobs' ids. What comes back with the
// same text need not be decoded.
type given struct {
	mu     sync.Mutex
	births map[string]ownBirth
}

type ownBirth struct {
	job  *jobs.Job
	text []byte
}

// add keeps a birth that is about to be published. It forgets all others where none comes back any more: nobody follows the stream,
// or the bus is away.
func (g *given) add(job *jobs.Job, text []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.births == nil || len(g.births) >= maxGiven {
		g.births = map[string]ownBirth{}
	}
	g.births[job.ID] = ownBirth{job, text}
}

func (g *given) drop(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.births, id)
}

// take returns what a message says that is the birth of a job which was added, with the same text, or nil.
func (g *given) take(m jetstream.Msg, seq uint64) *JobMessage {
	host, id, kind, ok := subjectTokens(m.Subject())
	if !ok || kind != kindRequest {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	own, ok := g.births[id]
	if !ok || own.job.Host != host || !bytes.Equal(own.text, m.Data()) {
		return nil
	}
	delete(g.births, id)
	return &JobMessage{Job: *own.job, Seq: seq, Birth: true, Source: m.Headers().Get(headerSource), JSON: own.text}
}
