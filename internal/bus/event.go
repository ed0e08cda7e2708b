package bus

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// Headers of a job's messages: CloudEvents 1.0 in binary mode, and the place of a log chunk.
const (
	headerSpecVersion = "ce-specversion"
	headerEventID     = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "content-type"
	// HeaderOffset is the byte offset of a chunk's first byte in its job's log.
	HeaderOffset = "Netlab-Offset"
)

// event makes the message of one step in a job's life.
func (b *Bus) event(host, id, kind, eventType, contentType string, body []byte) *nats.Msg {
	m := nats.NewMsg(intakeSubject(host, id, kind))
	// Set the map itself: CloudEvents' names are lower case, and Header.Set of other libraries would change that.
	m.Header = nats.Header{
		headerSpecVersion: {"1.0"},
		headerEventID:     {uuid.NewString()},
		headerSource:      {b.source},
		headerType:        {eventType},
		headerSubject:     {id},
		headerTime:        {time.Now().UTC().Format(time.RFC3339Nano)},
		headerContentType: {contentType},
	}
	m.Data = body
	return m
}

func (b *Bus) jobEvent(kind string, job *jobs.Job, body any) (*nats.Msg, error) {
	data, err := jobs.Encode(body)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", job.ID, err)
	}
	return b.event(job.Host, job.ID, kind, "netlab.job."+string(job.State), "application/json", bytes.TrimSuffix(data, []byte("\n"))), nil
}

// sequenceOf is the stream sequence of a message that came by a direct get.
func sequenceOf(m *nats.Msg) uint64 {
	n, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// subjectTokens splits netlab.jobs.<host>.<id>.<kind>.
func subjectTokens(subject string) (host, id, kind string, ok bool) {
	if strings.Count(subject, ".") != 4 {
		return "", "", "", false
	}
	_, rest, _ := strings.Cut(subject, ".")
	_, rest, _ = strings.Cut(rest, ".")
	host, rest, _ = strings.Cut(rest, ".")
	id, kind, _ = strings.Cut(rest, ".")
	return host, id, kind, true
}
