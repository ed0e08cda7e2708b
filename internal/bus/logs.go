package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Chunk is a piece of a job's log.
type Chunk struct {
	Host, Job string
	// Offset is the place of the first byte in the log.
	Offset int64
	Text   []byte
	// Seq is the chunk's sequence in the logs stream.
	Seq uint64
}

// End is the offset behind the chunk.
func (c *Chunk) End() int64 { return c.Offset + int64(len(c.Text)) }

// PublishLog commits the next chunk of a log if the last one has the sequence last, 0 for none. It returns the new sequence.
// ErrConflict: somebody else publishes this log. ErrFull: the stream has no room.
func (b *Bus) PublishLog(ctx context.Context, c *Chunk, last uint64) (seq uint64, err error) {
	m := b.event(c.Host, c.Job, kindLog, "netlab.job.log", "text/plain; charset=utf-8", c.Text)
	m.Header[HeaderOffset] = []string{strconv.FormatInt(c.Offset, 10)}
	return b.insist(ctx, "log of job "+c.Job, logsStream, m, publicSubject(c.Host, c.Job, kindLog), last, ErrUnavailable)
}

// LastChunk reads the last chunk that the stream has of a log. ErrNotFound: none.
func (b *Bus) LastChunk(ctx context.Context, host, id string) (*Chunk, error) {
	m, h, err := b.newest(ctx, logsStream, publicSubject(host, id, kindLog))
	if err != nil {
		return nil, err
	}
	return decodeChunk(host, id, h, m.Data, m.Seq)
}

// FollowLogs calls handle with every chunk of every log and its place, in the stream's order, until ctx ends: those behind after
// where the stream still has all up to there, else all.
func (b *Bus) FollowLogs(ctx context.Context, after Mark, handle func(*Chunk, Mark), caughtUp func()) error {
	c := jetstream.OrderedConsumerConfig{FilterSubjects: []string{everySubject}}
	return b.follow(ctx, logsStream, after, c, func(m jetstream.Msg, at Mark) {
		chunk, err := chunkOf(m, at.Seq)
		if err != nil {
			b.log.Error("bus: unreadable log chunk skipped", "subject", m.Subject(), "error", err)
			return
		}
		handle(chunk, at)
	}, caughtUp)
}

// ReadLog calls handle with every chunk that the stream has of one log, in order, and returns. ErrUnavailable: also where the stream has lost
// something meanwhile.
func (b *Bus) ReadLog(ctx context.Context, host, id string, handle func(*Chunk) error) error {
	if _, err := b.LastChunk(ctx, host, id); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errDone := errors.New("done")
	err := b.follow(ctx, logsStream, Mark{}, jetstream.OrderedConsumerConfig{FilterSubjects: []string{publicSubject(host, id, kindLog)}},
		func(m jetstream.Msg, at Mark) {
			chunk, err := chunkOf(m, at.Seq)
			if err == nil {
				err = handle(chunk)
			}
			if err != nil {
				cancel(err)
			}
		}, func() { cancel(errDone) })
	if cause := context.Cause(ctx); errors.Is(cause, errDone) {
		return nil
	} else if cause != nil {
		return cause
	}
	if errors.Is(err, ErrLost) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // it is not for the caller to make good
	}
	return err
}

func chunkOf(m jetstream.Msg, seq uint64) (*Chunk, error) {
	host, id, _, ok := subjectTokens(m.Subject())
	if !ok {
		return nil, fmt.Errorf("subject %q is no log's", m.Subject())
	}
	return decodeChunk(host, id, m.Headers(), m.Data(), seq)
}

func decodeChunk(host, id string, h nats.Header, text []byte, seq uint64) (*Chunk, error) {
	offset, err := strconv.ParseInt(h.Get(HeaderOffset), 10, 64)
	if err != nil || offset < 0 || offset > math.MaxInt64-int64(len(text)) {
		return nil, fmt.Errorf("chunk %d of the logs stream: offset %q", seq, h.Get(HeaderOffset))
	}
	return &Chunk{Host: host, Job: id, Offset: offset, Text: text, Seq: seq}, nil
}
