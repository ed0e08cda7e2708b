package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"
)

// storeToTurnBack is a server whose store can be made what it was.
type storeToTurnBack struct {
	*Server
	t        *testing.T
	dir, was string
}

// newStoreToTurnBack has made the streams, with one job in them.
func newStoreToTurnBack(ctx context.Context, t *testing.T) *storeToTurnBack {
	t.Helper()
	s := &storeToTurnBack{t: t, dir: t.TempDir(), was: t.TempDir()}
	s.start("127.0.0.1:0")
	b := connect(t, Config{Server: s.Server})
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("first", "a")}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	address := s.address()
	s.Stop()
	if err := os.CopyFS(s.was, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.start(address)
	t.Cleanup(func() { s.Stop() })
	return s
}

func (s *storeToTurnBack) start(address string) {
	s.t.Helper()
	var err error
	if s.Server, err = StartServer(ServerConfig{Dir: s.dir, Listen: address}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *storeToTurnBack) address() string {
	s.t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Host
}

// turnBack starts the server anew with the streams as they were, as after a power cut that has taken what came last.
func (s *storeToTurnBack) turnBack() {
	s.t.Helper()
	address := s.address()
	s.Stop()
	s.dir = s.was
	s.start(address)
}

// A stream that has lost its newest messages is the same stream, and ends earlier than what was read of it. Who follows it notices,
// and a host makes known again what came lately alone: all the rest is there.
func TestAStreamThatHasLostItsEnd(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := newStoreToTurnBack(ctx, t)
	b := connect(t, Config{URL: s.URL(), Creds: s.CredsFile})
	heard, caughtUp, ended := make(chan string, 10), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.FollowJobs(ctx, func(m *JobMessage) { heard <- m.ID }, func(string, uint64) {}, func() { close(caughtUp) })
	}()
	await(ctx, t, caughtUp)
	for i := range 3 {
		if _, err := b.Submit(ctx, &Birth{Job: *job(fmt.Sprint("lost", i), "a")}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		await(ctx, t, heard)
	}
	type span struct{ from, to time.Time }
	life, stop := context.WithCancel(ctx)
	lost, done := make(chan span, 10), make(chan struct{})
	go func() {
		defer close(done)
		_ = b.FollowLosses(life, func(_ context.Context, from, to time.Time) { lost <- span{from, to} })
	}()
	defer func() { stop(); <-done }()
	if all := await(ctx, t, lost); !all.from.IsZero() {
		t.Errorf("at the start from %s on", all.from)
	}

	began := time.Now()
	s.turnBack()
	if err := await(ctx, t, ended); !errors.Is(err, ErrLost) {
		t.Errorf("who follows the jobs: %v", err)
	}
	if tail := await(ctx, t, lost); tail.to.Before(began) || !tail.from.Equal(tail.to.Add(-lostTail)) {
		t.Errorf("what came from %s to %s is made known again, and it is %s", tail.from, tail.to, began)
	}
}

// await takes what comes, before ctx ends.
func await[T any](ctx context.Context, t *testing.T, from <-chan T) (what T) {
	t.Helper()
	select {
	case what = <-from:
	case <-ctx.Done():
		t.Fatal("waited in vain")
	}
	return what
}

// A bus may be silent though the connection to it stands: a server whose store hangs, say, or one without a leader.
func TestSilence(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	look := func() {
		t.Helper()
		if _, err := b.JobsSequence(ctx); err != nil {
			t.Fatal(err)
		}
		if silence := b.Silence(); silence != 0 {
			t.Errorf("it has just answered, and is silent for %s", silence)
		}
	}
	look()
	long := time.Now().Add(-3 * lookEvery)
	b.answered.Store(&long)
	if silence := b.Silence(); silence < 3*lookEvery || silence > time.Hour {
		t.Errorf("silent for %s", silence)
	}
	look()
	b.Close()
	if b.Silence() == 0 {
		t.Error("not silent without a connection")
	}
}
