package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// Objects are what is too large for a message of a job's life: its topology, or the archive of its lab's files. Each is kept
// in pieces, in a stream of their own, under its host and job. NATS's own object store is not used: its streams allow roll-ups,
// with which whoever may publish one piece can empty the whole of it.

const (
	// pieceSize is how much of an object one message has.
	pieceSize = 256 << 10
	// MaxObject bounds an object, which its host reads into memory.
	MaxObject = 64 << 20

	headerPieces = "Netlab-Pieces"
)

// The kinds of objects.
const (
	ObjectTopology = "topology"
	ObjectBundle   = "bundle"
)

// ObjectRef names the object that belongs to a job.
type ObjectRef struct {
	// Kind is ObjectTopology or ObjectBundle.
	Kind string `json:"kind"`
	// Bytes is its length, SHA256 its hash in hexadecimal.
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Attempt tells the objects of several requests for one job, of which one makes it. Empty: there is one request.
	Attempt string `json:"attempt,omitempty"`
}

// NameOf is the name under which the object of a job is stored: one token, that of no other job.
func (ref *ObjectRef) NameOf(id string) string {
	if ref.Attempt == "" {
		return id
	}
	return id + attemptMark + ref.Attempt
}

// attemptMark is in no job's id.
const attemptMark = "="

// RefOf is the reference to an object.
func RefOf(kind string, content []byte) *ObjectRef {
	sum := sha256.Sum256(content)
	return &ObjectRef{Kind: kind, Bytes: len(content), SHA256: hex.EncodeToString(sum[:])}
}

func pieceSubject(prefix, host, id string, n int) string {
	return prefix + host + "." + id + "." + strconv.Itoa(n)
}

// PutObject stores the object of a job that is about to be born, under its reference's NameOf. ErrTooLarge: over MaxObject. ErrFull: the stream has no room.
// After another error a part of it may be there: PurgeObject takes it away.
func (b *Bus) PutObject(ctx context.Context, host, name string, content []byte) error {
	if len(content) > MaxObject {
		return fmt.Errorf("%w: an object of %d bytes, at most %d", ErrTooLarge, len(content), MaxObject)
	}
	pieces := max((len(content)+pieceSize-1)/pieceSize, 1)
	for n := range pieces {
		m := nats.NewMsg(pieceSubject(objectsIntake, host, name, n))
		m.Data = content[n*pieceSize : min((n+1)*pieceSize, len(content))]
		m.Header.Set(headerPieces, strconv.Itoa(pieces))
		// The event id tells an answer that was lost from somebody else's piece.
		m.Header[headerEventID] = []string{name + "." + strconv.Itoa(n)}
		if _, err := b.commit(ctx, objectsStream, m, pieceSubject(objectsPublic, host, name, n), "", 0); err != nil {
			return fmt.Errorf("piece %d of %d: %w", n+1, pieces, err)
		}
	}
	return nil
}

// Object reads the object of a job. ErrNotFound: it is not there, not whole, or not the one that ref names.
func (b *Bus) Object(ctx context.Context, host, id string, ref *ObjectRef) ([]byte, error) {
	name := ref.NameOf(id)
	return ref.join(func(n int) (nats.Header, []byte, error) {
		return b.written(ctx, objectsStream, pieceSubject(objectsPublic, host, name, n))
	})
}

// join makes the object of its pieces, the first of which is piece(0).
func (ref *ObjectRef) join(piece func(n int) (nats.Header, []byte, error)) ([]byte, error) {
	if ref.Bytes < 0 || ref.Bytes > MaxObject {
		return nil, fmt.Errorf("%w: an object of %d bytes", ErrNotFound, ref.Bytes)
	}
	if ref.Attempt != "" && !jobs.ValidID(ref.Attempt) {
		return nil, fmt.Errorf("%w: an object of an attempt %.80q", ErrNotFound, ref.Attempt)
	}
	var content []byte
	for n, pieces := 0, 1; n < pieces; n++ {
		header, data, err := piece(n)
		if err != nil {
			return nil, fmt.Errorf("piece %d: %w", n+1, err)
		}
		pieces, err = strconv.Atoi(header.Get(headerPieces))
		if err != nil || pieces > MaxObject/pieceSize || len(content)+len(data) > ref.Bytes {
			return nil, fmt.Errorf("%w: piece %d is of another object", ErrNotFound, n+1)
		}
		if content == nil {
			content = make([]byte, 0, ref.Bytes) // not before there is anything
		}
		content = append(content, data...)
	}
	if got := RefOf(ref.Kind, content); got.Bytes != ref.Bytes || got.SHA256 != ref.SHA256 {
		return nil, fmt.Errorf("%w: what is there has %d bytes and the hash %s", ErrNotFound, got.Bytes, got.SHA256)
	}
	return content, nil
}

// PurgeObject removes what there is of a job's object, by its NameOf.
func (b *Bus) PurgeObject(ctx context.Context, host, name string) error {
	return b.purge(ctx, objectsStream, objectsPublic+host+"."+name+".*", 0)
}

// objectsYoung is how long an object may be there before its job is known: it is put first.
const objectsYoung = time.Hour

// Needs is what is needed of the objects of a job.
type Needs struct {
	// Known is false for a job that is not known, whose objects stay for an hour.
	Known bool
	// Input is what came with the job, Kept are the files that it has left.
	Input, Kept bool
}

// SweepObjects purges the objects that nobody needs any more.
func (b *Bus) SweepObjects(ctx context.Context, needs func(id string) Needs) error {
	return b.sweepObjects(ctx, objectsYoung, needs)
}

func (b *Bus) sweepObjects(ctx context.Context, young time.Duration, needs func(id string) Needs) error {
	stream, err := b.js.Stream(ctx, objectsStream)
	if err != nil {
		return translate(err)
	}
	// Not the first pieces alone: a piece that arrived after its object was purged has none.
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(objectsPublic+">"))
	if err != nil {
		return translate(err)
	}
	type object struct {
		host, name string
		kept       bool
	}
	seen := map[object]bool{}
	var errs []error
	for subject := range info.State.Subjects {
		tokens := strings.Split(subject, ".")
		if len(tokens) != inputTokens && len(tokens) != keptTokens {
			continue
		}
		o := object{tokens[2], tokens[3], len(tokens) == keptTokens}
		if seen[o] {
			continue
		}
		seen[o] = true
		id, _, _ := strings.Cut(o.name, attemptMark)
		need := needs(id)
		switch {
		case o.kept && need.Kept, !o.kept && need.Input, !need.Known && isYounger(ctx, stream, subject, info.TimeStamp.Add(-young)):
		case o.kept:
			errs = append(errs, b.PurgeKept(ctx, o.host, id))
		default:
			errs = append(errs, b.PurgeObject(ctx, o.host, o.name))
		}
	}
	return errors.Join(errs...)
}

// How many tokens the subject of a piece has.
const (
	inputTokens = 5
	keptTokens  = 6
)

// isYounger says whether the message was stored after that, by the clock of the bus, or is not known to have been before.
func isYounger(ctx context.Context, stream jetstream.Stream, subject string, than time.Time) bool {
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	return err != nil || m.Time.After(than)
}
