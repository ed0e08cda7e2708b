package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// placeKey makes a key of a working directory: a path has characters that a key may not have.
func placeKey(workdir string) string {
	sum := sha256.Sum256([]byte(workdir))
	return hex.EncodeToString(sum[:])
}

// places is the bucket of placements. Its handle is asked for once: it costs a question to the server.
func (b *Bus) places(ctx context.Context) (jetstream.KeyValue, error) {
	b.placesMu.Lock()
	defer b.placesMu.Unlock()
	if b.placesKV == nil {
		kv, err := b.js.KeyValue(ctx, placesBucket)
		if err != nil {
			return nil, translate(err)
		}
		b.placesKV = kv
	}
	return b.placesKV, nil
}

// PlaceOf reads which host has the working directory. It decides where a job goes, so the leader is asked. ErrNotFound: none.
func (b *Bus) PlaceOf(ctx context.Context, workdir string) (host string, err error) {
	m, _, err := b.newest(ctx, placesStream, "$KV."+placesBucket+"."+placeKey(workdir))
	if err != nil {
		return "", err
	}
	if len(m.Data) == 0 {
		return "", ErrNotFound
	}
	return string(m.Data), nil
}

// MovePlace gives the working directory to the host, whoever had it.
func (b *Bus) MovePlace(ctx context.Context, workdir, host string) error {
	kv, err := b.places(ctx)
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, placeKey(workdir), []byte(host))
	return translate(err)
}

// Place gives the working directory to the host unless another one has it already, and returns who has it: two APIs that
// place at the same moment get the same answer. isNew says that nobody had it.
func (b *Bus) Place(ctx context.Context, workdir, host string) (placed string, isNew bool, err error) {
	kv, err := b.places(ctx)
	if err != nil {
		return "", false, err
	}
	if _, err = kv.Create(ctx, placeKey(workdir), []byte(host)); errors.Is(err, jetstream.ErrKeyExists) {
		placed, err = b.PlaceOf(ctx, workdir)
		return placed, false, err
	}
	if err != nil {
		return "", false, translate(err)
	}
	return host, true, nil
}
