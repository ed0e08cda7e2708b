package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/bus/embedded/embeddedtest"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// submit gives birth to jobs, and publishes a line of the log of each.
func submit(ctx context.Context, t *testing.T, b *Bus, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := b.Submit(ctx, &Birth{Job: *job(id, "a")}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.PublishLog(ctx, &Chunk{Host: "a", Job: id, Text: []byte(id + "\n")}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A store of yesterday is put back while somebody hears nothing of the bus, and has got more by the time that they do than they had
// read: whoever follows it finds out, and does not go on behind messages that it has not seen.
func TestSequencesAreUsedAgain(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := newStore(ctx, t, "before")
	direct := connect(t, Config{URL: s.URL(), Creds: s.CredsFile})
	for !direct.Connected() {
		time.Sleep(time.Millisecond)
	}
	p := newProxy(t, s.Address())
	b := connect(t, Config{URL: "nats://" + p.listener.Addr().String(), Creds: s.CredsFile})
	following, stop := context.WithCancel(ctx)
	defer stop()
	read := map[string]chan string{"jobs": make(chan string, 100), "logs": make(chan string, 100)}
	ended := map[string]chan error{"jobs": make(chan error, 1), "logs": make(chan error, 1)}
	go func() {
		ended["jobs"] <- b.FollowJobs(following, false, func(m *JobMessage) { read["jobs"] <- m.ID }, func(string, uint64) {}, func() {})
	}()
	go func() {
		ended["logs"] <- b.FollowLogs(following, Mark{}, func(c *Chunk, _ Mark) { read["logs"] <- c.Job }, func() {})
	}()
	losses, losing := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(losing)
		_ = b.FollowLosses(following, func(context.Context) { losses <- struct{}{} })
	}()
	defer func() { stop(); <-losing }()
	<-losses // the start
	submit(ctx, t, b, "lost")
	for _, what := range []string{"jobs", "logs"} {
		for _, id := range []string{"before", "lost"} {
			if got := <-read[what]; got != id {
				t.Fatalf("%s: %s is read, want %s", what, got, id)
			}
		}
	}

	p.held.Store(true)
	s.TurnBack()
	for !direct.Connected() {
		time.Sleep(time.Millisecond)
	}
	submit(ctx, t, direct, "missed", "later")
	p.held.Store(false)
	for what, end := range ended {
		select {
		case err := <-end:
			if !errors.Is(err, ErrLostNewest) {
				t.Errorf("%s: %v", what, err)
			}
		case <-ctx.Done():
			t.Errorf("%s: that the bus has lost something is not noticed", what)
		}
		select {
		case id := <-read[what]:
			t.Errorf("%s: %s is read behind what was lost", what, id)
		default:
		}
	}
	select {
	case <-losses:
	case <-ctx.Done():
		t.Error("a host does not notice that the bus has lost something")
	}
}

// Messages go for good reasons too: that is no loss, and does not hide one.
func TestWhatIsALoss(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	watch := func(stream string) *watched {
		t.Helper()
		w := b.watch(stream)
		if err := b.begin(ctx, w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	expect := func(what string, w *watched, lost bool) {
		t.Helper()
		if err := b.look(ctx, w); errors.Is(err, ErrLost) != lost || !lost && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	empty := watch(jobsStream)
	ends := func(id string) (end uint64) {
		t.Helper()
		submit(ctx, t, b, id)
		j := job(id, "a")
		j.State = jobs.Success
		end, err := b.PublishStatus(ctx, j, 0)
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	letGo := func(id string, end uint64) {
		t.Helper()
		if err := b.LetGo(ctx, job(id, "a"), end); err != nil {
			t.Fatal(err)
		}
	}
	end := ends("one")
	expect("an empty stream has got messages", empty, false)
	newest := watch(jobsStream)
	expect("nothing has happened", newest, false)
	letGo("one", end)
	expect("the newest is let go", newest, false)
	second := ends("two")
	expect("and another has come", newest, false)
	expect("what was empty", empty, false)

	leases := watch(hostsStream)
	lease, err := b.AcquireLease(ctx, &hosts.Host{Name: "a", Identity: "one"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		expect("a lease is renewed", leases, false)
		if err := lease.Renew(ctx, &hosts.Host{Name: "a", Identity: "one"}); err != nil {
			t.Fatal(err)
		}
	}
	expect("a lease is renewed", leases, false)

	had := watch(jobsStream)
	had.mark.Stored = had.mark.Stored.Add(-time.Nanosecond)
	expect("another message has the sequence", had, true)
	before, _, err := b.newest(ctx, jobsStream, publicSubject("a", "two", kindRequest))
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(jobsStream)
	gone.mark.Stored = before.Time.Add(-time.Nanosecond)
	if err := b.purge(ctx, jobsStream, publicSubject("a", "two", kindStatus), second); err != nil {
		t.Fatal(err)
	}
	submit(ctx, t, b, "three")
	expect("another one had it and is gone, and one before it is of later", gone, true)
	behind := watch(jobsStream)
	now, _ := behind.known()
	now.Seq--
	if err := b.goesOn(ctx, jobsStream, behind.mark, now); err != nil {
		t.Errorf("a copy that is behind says where the stream ends: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.goesOn(canceled, jobsStream, behind.mark, now); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("and nobody else answers: %v", err)
	}
	shorter := watch(jobsStream)
	shorter.mark.Seq++
	expect("the stream ends before", shorter, true)
	older := watch(jobsStream)
	older.mark.Made = older.mark.Made.Add(-time.Second)
	expect("the stream was made anew", older, true)

	mine := watch(jobsStream)
	submit(ctx, t, b, "mine")
	expect("nothing has happened, to who begins now", watch(jobsStream), false)
	if err := b.purge(ctx, jobsStream, publicSubject("a", "mine", kindRequest), 0); err != nil {
		t.Fatal(err)
	}
	expect("what this program has stored itself is gone", mine, true)
}

// newStore is a server whose store can be made what it is now: the streams, with this job in them.
func newStore(ctx context.Context, t *testing.T, id string) *embeddedtest.Store {
	t.Helper()
	return embeddedtest.NewStore(t, func(s *embedded.Server) {
		b := connect(t, Config{Server: s, Creds: s.CredsFile})
		defer b.Close()
		if err := b.EnsureStreams(ctx, testLimits); err != nil {
			t.Fatal(err)
		}
		submit(ctx, t, b, id)
	})
}

// A stream that has lost its newest messages is the same stream, and ends earlier than what was read of it. Who follows it notices.
func TestAStreamThatHasLostItsEnd(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := newStore(ctx, t, "first")
	b := connect(t, Config{URL: s.URL(), Creds: s.CredsFile})
	heard, caughtUp, ended := make(chan string, 10), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.FollowJobs(ctx, false, func(m *JobMessage) { heard <- m.ID }, func(string, uint64) {}, func() { close(caughtUp) })
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
	life, stop := context.WithCancel(ctx)
	lost, done := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(done)
		_ = b.FollowLosses(life, func(context.Context) { lost <- struct{}{} })
	}()
	defer func() { stop(); <-done }()
	await(ctx, t, lost) // the start

	s.TurnBack()
	if err := await(ctx, t, ended); !errors.Is(err, ErrLost) {
		t.Errorf("who follows the jobs: %v", err)
	}
	await(ctx, t, lost)
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
		if silence := b.Silence(time.Now()); silence != 0 {
			t.Errorf("it has just answered, and is silent for %s", silence)
		}
	}
	look()
	long := time.Now().Add(-3 * lookEvery)
	b.answered.Store(&long)
	if silence := b.Silence(time.Now()); silence < 3*lookEvery || silence > time.Hour {
		t.Errorf("silent for %s", silence)
	}
	look()
	b.Close()
	if b.Silence(time.Now()) == 0 {
		t.Error("not silent without a connection")
	}
}

// An answer that is lost, with a connection say, is not waited for by who has more time: nothing would be heard of the bus meanwhile.
func TestALookThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	ctx, s, _ := readyServer(t)
	b := through(t, s, func(_ string, m *nats.Msg) *nats.Msg {
		m.Reply = ""
		return nil
	})
	began := time.Now()
	if _, err := b.JobsSequence(ctx); !errors.Is(err, ErrUnavailable) || time.Since(began) > 2*answerTimeout {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// Once a stream is said to have lost its newest messages it is another one to everybody, however often that is said.
func TestALossIsTold(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	submit(ctx, t, b, "j1")
	ended := make(chan error, 1)
	made := make(chan time.Time, 10)
	go func() {
		ended <- b.FollowJobs(ctx, true, func(m *JobMessage) { made <- m.Made }, func(string, uint64) {}, func() {})
	}()
	first := await(ctx, t, made)
	now := func() time.Time {
		t.Helper()
		mark, err := b.mark(ctx, jobsStream)
		if err != nil {
			t.Fatal(err)
		}
		return mark.Made
	}
	tell := func(known time.Time) {
		t.Helper()
		if err := b.TellLoss(ctx, known); err != nil {
			t.Fatal(err)
		}
	}
	if tell(first.Add(-1)); !now().Equal(first) {
		t.Error("a loss of a stream before it is told")
	}
	tell(first)
	second := now()
	if !second.After(first) {
		t.Errorf("after the loss it was made %s, before %s", second, first)
	}
	if err := await(ctx, t, ended); !errors.Is(err, ErrLost) || errors.Is(err, ErrLostNewest) {
		t.Errorf("who followed it hears %v", err)
	}
	if tell(first); !now().Equal(second) {
		t.Error("it is told twice")
	}
	if err := b.EnsureStreams(ctx, testLimits); err != nil || !now().Equal(second) {
		t.Errorf("when the streams are ensured it is forgotten (%v)", err)
	}
	ahead := second.Add(time.Hour) // by another clock
	if tell(ahead); !now().After(ahead) {
		t.Errorf("it was made %s, want after %s", now(), ahead)
	}
	copied := &jetstream.StreamInfo{Created: ahead, Config: jetstream.StreamConfig{Metadata: map[string]string{lossKey: first.Format(time.RFC3339Nano)}}}
	if at := madeAt(copied); !at.Equal(ahead) {
		t.Errorf("one that was made with what another one said was made %s", at)
	}
	older := Mark{Made: now().Add(time.Hour), Seq: 1}
	if err := b.goesOn(ctx, jobsStream, older, Mark{Made: now(), Seq: 1}); !errors.Is(err, ErrLostNewest) {
		t.Errorf("an older one that was put back: %v", err)
	}
}

// A log that is lost while it is read is one to read again: what was lost is for others to make good.
func TestALogThatIsLostWhileItIsRead(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	submit(ctx, t, b, "j1")
	err := b.ReadLog(ctx, "a", "j1", func(*Chunk) error {
		if err := b.js.DeleteStream(ctx, logsStream); err != nil {
			return err
		}
		if err := b.EnsureStreams(ctx, testLimits); err != nil {
			return err
		}
		following := func() bool {
			b.watchingMu.Lock()
			defer b.watchingMu.Unlock()
			return len(b.watching) > 0
		}
		for following() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return ctx.Err()
	})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) {
		t.Errorf("it ends with %v", err)
	}
}

// After an outage that lasts the client makes its consumer anew at its next try, up to ten seconds after the bus is back. Until then it is not
// taken for one that has told all, a loss is noticed, and who follows it ends without waiting for that try.
func TestABusThatIsBackBeforeItsConsumer(t *testing.T) {
	t.Parallel()
	const tries, pause = 4, 8 * time.Second // that fail, one, two and four seconds after each other; and before the next one
	for name, then := range map[string]func(ctx context.Context, t *testing.T, b, real *Bus, read <-chan string, ended <-chan error, stop func()){
		"it is silent": func(ctx context.Context, t *testing.T, b, _ *Bus, read <-chan string, _ <-chan error, _ func()) {
			for done := false; !done; time.Sleep(time.Millisecond) {
				silence := b.Silence(time.Now())
				select {
				case <-read:
					done = true
				default:
					if silence < 3*lookEvery {
						t.Fatalf("what it has is not read, and it is silent for %s", silence)
					}
				}
			}
			for back := time.Now(); b.Silence(time.Now()) > 0; time.Sleep(time.Millisecond) {
				if time.Since(back) > 10*lookEvery {
					t.Fatal("all is read, and it is still silent")
				}
			}
		},
		"it is stopped": func(ctx context.Context, t *testing.T, _, _ *Bus, _ <-chan string, ended <-chan error, stop func()) {
			stop()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			case <-time.After(pause - time.Second):
				t.Error("it does not end")
			}
		},
		"it is lost": func(ctx context.Context, t *testing.T, _, real *Bus, _ <-chan string, ended <-chan error, _ func()) {
			if err := errors.Join(real.js.DeleteStream(ctx, jobsStream), real.EnsureStreams(ctx, testLimits)); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if !errors.Is(err, ErrLost) {
					t.Error(err)
				}
			case <-time.After(pause - time.Second):
				t.Error("the loss is not noticed")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, real := readyServer(t)
			var away atomic.Bool
			tried, back := 0, make(chan struct{})
			b := through(t, s, func(subject string, _ *nats.Msg) *nats.Msg {
				if !away.Load() {
					return nil
				}
				if strings.HasPrefix(subject, "CONSUMER.CREATE.") {
					if tried++; tried == tries {
						away.Store(false)
						close(back)
					}
				}
				return &nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10008,"description":"system temporarily unavailable"}}`)}
			})
			following, stop := context.WithCancel(ctx)
			defer stop()
			read, caughtUp, ended := make(chan string, 1), make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- b.FollowJobs(following, false, func(m *JobMessage) { read <- m.ID }, nil, func() { close(caughtUp) })
			}()
			await(ctx, t, caughtUp)
			time.Sleep(lookEvery + lookEvery/2)
			if silence := b.Silence(time.Now()); silence > 0 {
				t.Errorf("it is silent for %s", silence)
			}
			away.Store(true)
			stream, err := real.js.Stream(ctx, jobsStream)
			if err != nil {
				t.Fatal(err)
			}
			for name := range stream.ConsumerNames(ctx).Name() {
				if err := real.js.DeleteConsumer(ctx, jobsStream, name); err != nil {
					t.Fatal(err)
				}
			}
			submit(ctx, t, real, "late")
			await(ctx, t, back)
			next := time.Now().Add(pause)
			then(ctx, t, b, real, read, ended, stop)
			stop()
			time.Sleep(time.Until(next) + 3*time.Second) // what the client does ends with its try
		})
	}
}
