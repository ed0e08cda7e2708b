package dispatch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// Key is a client's word that all its requests with it are one: they make one job.
//
// The job's id is made of the key, so that the birth's own check, over all hosts, makes it one job, wherever the requests come
// in and whatever host each of them would choose. Who reads the bus sees the id and a fingerprint of the payload. Both are
// HMACs under a key that comes of the client's credential, so neither lets anybody try out what a secret value, the key or
// the credential may be. Where the API is open to all there is no credential, and only a key that nobody can guess, such as a
// UUID, protects the secrets of its payload.
type Key struct {
	id string
	// payload is the key of the fingerprints.
	payload []byte
}

// NewKey returns the key that a client names with text. credential is known to nobody on the bus and the same on every API
// that accepts the client; two clients never have the same one. The raw credential, which may be a short password, has to be
// stretched before.
func NewKey(credential []byte, text string) *Key {
	var id uuid.UUID
	copy(id[:], keyed(credential, "job", text))
	id[6] = id[6]&0x0F | 0x80 // version 8: made by a rule of ours
	id[8] = id[8]&0x3F | 0x80 // RFC 9562's variant
	return &Key{id: id.String(), payload: keyed(credential, "payload", text)}
}

func keyed(key []byte, purpose, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose + "\x00" + text))
	return mac.Sum(nil)
}

// fingerprintVersion is of the rule by which fingerprints are made. A program that makes other ones of the same payload, because
// a request has a field more say, has another version: a client may send its request to one and again to the other.
const fingerprintVersion = "1"

// fingerprint tells one payload from another: what is asked for, as it was understood, with its secrets. An inline topology
// and a bundle are in the request with their hashes.
func (k *Key) fingerprint(p *jobs.Payload) (string, error) {
	text, err := json.Marshal([]any{p.Request, p.Secrets, p.TopologyURL})
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, k.payload)
	mac.Write(text)
	return fingerprintVersion + "." + hex.EncodeToString(mac.Sum(nil)), nil
}

// differs says whether two fingerprints of one key are of different payloads, as far as can be told.
func differs(a, b string) bool {
	version, _, _ := strings.Cut(a, ".")
	other, _, _ := strings.Cut(b, ".")
	return version == other && !hmac.Equal([]byte(a), []byte(b))
}

// KeyReusedError is a key that came before with another payload.
type KeyReusedError struct {
	// Job is the id of the job that the key made.
	Job string
}

func (e *KeyReusedError) Error() string {
	return fmt.Sprintf("Idempotency-Key: it came before with another body, which became job %s: send a new key with a new job", e.Job)
}

// SubmitOnce is Submit for a request that a client may send again. replayed says that the job was there already; it is as it
// is now. Besides Submit's errors: *KeyReusedError.
//
// After any error the client may try again with the same key, even where there may be a job.
func (d *Dispatcher) SubmitOnce(ctx context.Context, p *jobs.Payload, key *Key) (job jobs.Job, replayed bool, err error) {
	fingerprint, err := key.fingerprint(p)
	if err != nil {
		return jobs.Job{}, false, err
	}
	// Before a host is looked for: a job that was accepted needs none any more.
	birth, err := d.bus.FindBirth(ctx, key.id)
	if err == nil {
		job, err = d.again(ctx, birth, fingerprint)
		return job, true, err
	}
	if !errors.Is(err, bus.ErrNotFound) {
		return jobs.Job{}, false, err
	}
	if _, known := d.view.Known(key.id); known {
		return d.againUnborn(ctx, key, fingerprint)
	}
	job, err = d.submit(ctx, p, key.id, fingerprint)
	if !errors.Is(err, bus.ErrConflict) {
		return job, false, err
	}
	// Another request with the key came between.
	birth, unread := d.bus.FindBirth(ctx, key.id)
	if unread != nil {
		return jobs.Job{}, false, errors.Join(err, unread)
	}
	job, err = d.again(ctx, birth, fingerprint)
	return job, true, err
}

// again is the job of a key that has one.
func (d *Dispatcher) again(ctx context.Context, birth *bus.Birth, fingerprint string) (jobs.Job, error) {
	if differs(birth.Fingerprint, fingerprint) {
		return jobs.Job{}, &KeyReusedError{Job: birth.ID}
	}
	job, err := d.view.Job(ctx, birth.ID)
	if errors.Is(err, view.ErrUnknown) {
		// It was let go since its birth was read. Its key makes another one when that is over.
		return jobs.Job{}, fmt.Errorf("%w: job %s is just being let go", bus.ErrUnavailable, birth.ID)
	}
	if err == nil && !job.State.Terminal() {
		// The request before may have failed in between. Later it would undo what other requests have said since.
		err = d.settle(ctx, &birth.Job)
	}
	return job, err
}

// againUnborn is again of a job whose birth the bus does not have, at this moment or any more.
func (d *Dispatcher) againUnborn(ctx context.Context, key *Key, fingerprint string) (job jobs.Job, replayed bool, err error) {
	birth, err := d.bus.FindBirth(ctx, key.id)
	switch {
	case err == nil:
		job, err = d.again(ctx, birth, fingerprint)
	case errors.Is(err, bus.ErrNotFound):
		// The bus has lost it. It will be made known to it again, and is not to run twice.
		job, err = d.view.Job(ctx, key.id)
	}
	return job, true, err
}
