package bus

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/bus/embedded"
)

// noise is content of which no piece is like another.
func noise(n int) []byte {
	content := make([]byte, n)
	x := uint32(1)
	for i := range content {
		x = x*1664525 + 1013904223
		content[i] = byte(x >> 24)
	}
	return content
}

func TestObjects(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	for name, size := range map[string]int{"empty": 0, "byte": 1, "piece": pieceSize, "more": pieceSize + 1, "many": 5*pieceSize - 1} {
		content := noise(size)
		if err := b.PutObject(ctx, "a", name, content); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := b.Object(ctx, "a", name, RefOf(ObjectBundle, content))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := b.PurgeObject(ctx, "a", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := b.Object(ctx, "a", name, RefOf(ObjectBundle, content)); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s, purged: %v, want ErrNotFound", name, err)
		}
	}
	if err := b.PutObject(ctx, "a", "large", make([]byte, MaxObject+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := b.Object(ctx, "a", "large", &ObjectRef{Bytes: MaxObject + 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a reference that is too large: %v", err)
	}
}

// An object is taken only as its reference names it.
func TestObjectsThatAreNotWhatTheyShouldBe(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	content := noise(3 * pieceSize)
	ref := RefOf(ObjectTopology, content)
	put := func(id string) {
		t.Helper()
		if err := b.PutObject(ctx, "a", id, content); err != nil {
			t.Fatal(err)
		}
	}
	// Another message is put in the place of a piece, as only somebody with all rights can.
	replace := func(id string, n int, data []byte, pieces string) {
		t.Helper()
		m := nats.NewMsg(pieceSubject(objectsIntake, "a", id, n))
		m.Data = data
		m.Header.Set(headerPieces, pieces)
		if _, err := b.js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	for id, damage := range map[string]func(id string){
		"flipped": func(id string) {
			piece := bytes.Clone(content[pieceSize : 2*pieceSize])
			piece[7] ^= 1
			replace(id, 1, piece, "3")
		},
		"short":   func(id string) { replace(id, 2, []byte("end"), "3") },
		"long":    func(id string) { replace(id, 2, noise(pieceSize+1), "3") },
		"fewer":   func(id string) { replace(id, 0, content[:pieceSize], "1") },
		"more":    func(id string) { replace(id, 2, content[2*pieceSize:], "4") },
		"garbage": func(id string) { replace(id, 0, content[:pieceSize], "many") },
		"missing": func(id string) {
			stream, err := b.js.Stream(ctx, objectsStream)
			if err != nil {
				t.Fatal(err)
			}
			m, err := stream.GetLastMsgForSubject(ctx, pieceSubject(objectsPublic, "a", id, 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.DeleteMsg(ctx, m.Sequence); err != nil {
				t.Fatal(err)
			}
		},
	} {
		put(id)
		damage(id)
		if got, err := b.Object(ctx, "a", id, ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %d bytes, %v, want ErrNotFound", id, len(got), err)
		}
	}
	put("whole")
	for what, other := range map[string]*ObjectRef{
		"another hash": {Kind: ref.Kind, Bytes: ref.Bytes, SHA256: strings.Repeat("0", 64)},
		"fewer bytes":  {Kind: ref.Kind, Bytes: ref.Bytes - 1, SHA256: ref.SHA256},
		"more bytes":   {Kind: ref.Kind, Bytes: ref.Bytes + 1, SHA256: ref.SHA256},
		"negative":     {Kind: ref.Kind, Bytes: -1, SHA256: ref.SHA256},
	} {
		if _, err := b.Object(ctx, "a", "whole", other); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
	if err := b.PutObject(ctx, "a", "whole", noise(1)); !errors.Is(err, ErrConflict) && err != nil {
		t.Errorf("put again: %v", err)
	}
	if got, err := b.Object(ctx, "a", "whole", ref); err != nil || !bytes.Equal(got, content) {
		t.Errorf("after another was put in its place: %d bytes, %v", len(got), err)
	}
}

func TestSweepObjects(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	content := noise(pieceSize + 5)
	ref := RefOf(ObjectBundle, content)
	for _, id := range []string{"ended", "needed", "unknown"} {
		if err := b.PutObject(ctx, "a", id, content); err != nil {
			t.Fatal(err)
		}
	}
	err := b.SweepObjects(ctx, func(id string) Needs { return Needs{Known: id != "unknown", Input: id == "needed"} })
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{"ended": ErrNotFound, "needed": nil, "unknown": nil} {
		if _, err := b.Object(ctx, "a", id, ref); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	stream, err := b.js.Stream(ctx, objectsStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 4 {
		t.Errorf("%d pieces are left, want 4", n)
	}

	// An old one that nobody knows goes, and so does a piece that was on its way when its object was purged.
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(pieceSubject(objectsPublic, "a", "unknown", 0))); err != nil {
		t.Fatal(err)
	}
	err = b.sweepObjects(ctx, time.Nanosecond, func(id string) Needs { return Needs{Known: id == "needed", Input: id == "needed"} })
	if err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(ctx); err != nil || info.State.Msgs != 2 {
		t.Errorf("then %+v %v, want 2 pieces", info.State, err)
	}
	if _, err := b.Object(ctx, "a", "needed", ref); err != nil {
		t.Errorf("the needed one: %v", err)
	}
}

// A roll-up in a piece would empty the stream, and a subscriber has no business with pieces.
func TestObjectsStreamRefusesRollUpsAndShowsNothing(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	sub, err := b.nc.SubscribeSync(objectsPublic + ">")
	if err != nil {
		t.Fatal(err)
	}
	content := noise(10)
	if err := b.PutObject(ctx, "a", "kept", content); err != nil {
		t.Fatal(err)
	}
	for _, rollUp := range []string{"all", "sub"} {
		m := nats.NewMsg(pieceSubject(objectsIntake, "a", "kept", 0))
		m.Header.Set("Nats-Rollup", rollUp)
		if _, err := b.js.PublishMsg(ctx, m); err == nil {
			t.Errorf("roll-up %s is accepted", rollUp)
		}
	}
	if _, err := b.Object(ctx, "a", "kept", RefOf(ObjectBundle, content)); err != nil {
		t.Error(err)
	}
	if n, _, _ := sub.Pending(); n != 0 {
		t.Errorf("a subscriber got %d pieces", n)
	}
}

func TestObjectsStreamThatIsFull(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	b := newBus(t)
	limits := testLimits
	limits.ObjectsBytes = 1 << 20
	if err := b.EnsureStreams(ctx, limits); err != nil {
		t.Fatal(err)
	}
	if err := b.PutObject(ctx, "a", "large", noise(2<<20)); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
	if err := b.PurgeObject(ctx, "a", "large"); err != nil {
		t.Fatal(err)
	}
	if err := b.PutObject(ctx, "a", "small", noise(1<<19)); err != nil {
		t.Errorf("after the half of it was purged: %v", err)
	}
}

func TestSealedURL(t *testing.T) {
	t.Parallel()
	key, err := LoadHostKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	const url = "https://example.com/t.yml?token=hunter22#f"
	sealed, err := SealURL(url, public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.OpenURL(sealed); err != nil || got != url {
		t.Errorf("opened: %q %v", got, err)
	}
	if got, err := key.OpenURL(nil); err != nil || got != "" {
		t.Errorf("none: %q %v", got, err)
	}
	other, err := LoadHostKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.OpenURL(sealed); err == nil {
		t.Errorf("another host reads %q", got)
	}
}

func TestObjectsWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := connect(t, Config{Server: s})
	s.Stop()
	for b.Connected() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	for what, f := range map[string]func(context.Context) error{
		"put":     func(ctx context.Context) error { return b.PutObject(ctx, "a", "x", noise(1)) },
		"cancel":  func(ctx context.Context) error { _, err := b.RequestCancel(ctx, "a", "x"); return err },
		"queued":  func(ctx context.Context) error { _, err := b.CancelQueued(ctx, job("x", "a")); return err },
		"request": func(ctx context.Context) error { _, err := b.CancelRequested(ctx, "a", "x"); return err },
		"get": func(ctx context.Context) error {
			_, err := b.Object(ctx, "a", "x", RefOf(ObjectBundle, nil))
			return err
		},
	} {
		if err := f(ctx); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
	}
}
