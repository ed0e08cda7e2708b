package bus

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/bus/embedded"
)

// lagging connects to a bus of which the copies that answer direct gets are behind: the next answers are those in turn, and
// what is there after them.
func lagging(t *testing.T, s *embedded.Server, answers ...*nats.Msg) *Bus {
	t.Helper()
	prefix := nats.NewInbox() // of its own: another one of the same test still answers
	real := connect(t, Config{Server: s})
	var count atomic.Int64
	sub, err := real.nc.Subscribe(prefix+".>", func(m *nats.Msg) {
		if n := int(count.Add(1)) - 1; n < len(answers) {
			answer := nats.NewMsg(m.Reply)
			answer.Header, answer.Data = answers[n].Header, answers[n].Data
			_ = real.nc.PublishMsg(answer)
			return
		}
		_ = real.nc.PublishRequest("$JS.API"+strings.TrimPrefix(m.Subject, prefix), m.Reply, m.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := real.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return connect(t, Config{Server: s, APIPrefix: prefix})
}

// readyServer is a server with the streams made, and a connection to it.
func readyServer(t *testing.T) (context.Context, *embedded.Server, *Bus) {
	t.Helper()
	ctx := deadline(t)
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b := connect(t, Config{Server: s})
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	return ctx, s, b
}

func absent() *nats.Msg { return &nats.Msg{Header: nats.Header{"Status": {"404"}}} }

// Who publishes again what was stored already, because the answer was lost, must not take it for somebody else's: not even
// where the copy that is asked does not have it yet.
func TestARepeatedPublishBeforeACopyThatIsBehind(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	birth := job("j", "a")
	m, err := b.jobEvent(kindRequest, birth, birth)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(b *Bus) (uint64, error) {
		return b.commit(ctx, jobsStream, m, publicSubject("a", "j", kindRequest), publicSubject("*", "j", kindRequest), 0)
	}
	born, err := publish(b)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := publish(lagging(t, s, absent(), absent())); err != nil || seq != born {
		t.Errorf("a birth: %d %v, want %d", seq, err, born)
	}

	state, err := b.jobEvent(kindStatus, birth, birth)
	if err != nil {
		t.Fatal(err)
	}
	subject := publicSubject("a", "j", kindStatus)
	first, err := b.commit(ctx, jobsStream, state, subject, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.lastMessage(ctx, jobsStream, subject)
	if err != nil {
		t.Fatal(err)
	}
	if state, err = b.jobEvent(kindStatus, birth, birth); err != nil {
		t.Fatal(err)
	}
	second, err := b.commit(ctx, jobsStream, state, subject, "", first)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := lagging(t, s, absent(), old, old).commit(ctx, jobsStream, state, subject, "", first); err != nil || seq != second {
		t.Errorf("a state: %d %v, want %d", seq, err, second)
	}
	// Nor where it is behind for longer than one try waits.
	var long []*nats.Msg
	for range copyPatience/copyPause + 1 {
		long = append(long, old)
	}
	seq, err := lagging(t, s, long...).insist(ctx, "a state", jobsStream, state, subject, first, ErrUnavailable)
	if err != nil || seq != second {
		t.Errorf("a state, long after: %d %v, want %d", seq, err, second)
	}
}

// A copy that stays behind proves nothing.
func TestACopyThatStaysBehind(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	if _, err := b.Submit(ctx, &Birth{Job: *job("j", "a")}); err != nil {
		t.Fatal(err)
	}
	var behind []*nats.Msg
	for range 10_000 {
		behind = append(behind, absent())
	}
	short, cancel := context.WithTimeout(ctx, 2*copyPatience)
	defer cancel()
	_, err := lagging(t, s, behind...).Submit(short, &Birth{Job: *job("j", "a")})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "may have been accepted as j") {
		t.Errorf("%v, want ErrUnavailable and the doubt", err)
	}
	// What is there no more is no copy that is behind.
	soon, cancel := context.WithTimeout(ctx, 2*copyPatience)
	defer cancel()
	if _, err := b.PublishStatus(soon, job("j", "a"), 77); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	// Nor is one that stays where it is: the stream has lost what came after.
	if _, err := b.PublishStatus(ctx, job("j", "a"), 0); err != nil {
		t.Fatal(err)
	}
	b.behindPatience = 0
	if _, err := b.PublishStatus(ctx, job("j", "a"), 77); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
}
