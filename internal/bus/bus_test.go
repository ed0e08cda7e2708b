package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The server's own, which it does not wait for at its shutdown.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).internalLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startTagging"),
		// Nor does a server of a cluster for the stores of streams that it was just reading when it was stopped.
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

var testLimits = Limits{Replicas: 1, JobsBytes: 16 << 20, LogsBytes: 16 << 20, ObjectsBytes: 16 << 20, Lease: 10 * time.Second}

// newBus runs an embedded server without a listener and connects to it.
func newBus(t *testing.T) *Bus {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return connect(t, Config{Server: s})
}

func connect(t *testing.T, c Config) *Bus {
	t.Helper()
	b, err := Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func ready(t *testing.T) (context.Context, *Bus) {
	t.Helper()
	ctx := deadline(t)
	b := newBus(t)
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	return ctx, b
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func job(id, host string) *jobs.Job {
	return &jobs.Job{ID: id, Action: jobs.Create, State: jobs.Queued, Host: host, CreatedAt: time.Unix(1_800_000_000, 0).UTC(), Warnings: []string{}}
}

func TestSubmitIsOneBirthOnTheWholeFleet(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "b")}); !errors.Is(err, ErrConflict) {
		t.Fatalf("the same id on another host: %v, want ErrConflict", err)
	}
	got, err := b.FindJob(ctx, "j1")
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != "a" || !got.Birth || got.Seq == 0 {
		t.Errorf("found %+v", got)
	}
	if _, err := b.FindJob(ctx, "j2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown id: %v, want ErrNotFound", err)
	}
}

func TestStatusIsFenced(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	j := job("j1", "a")
	j.State = jobs.Running
	first, err := b.PublishStatus(ctx, j, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.PublishStatus(ctx, j, 0); !errors.Is(err, ErrConflict) {
		t.Fatalf("a second claim: %v, want ErrConflict", err)
	}
	if _, err := b.PublishStatus(ctx, j, first); err != nil {
		t.Fatal(err)
	}
	last, err := b.LastStatus(ctx, "a", "j1")
	if err != nil {
		t.Fatal(err)
	}
	if last.Seq <= first || last.State != jobs.Running {
		t.Errorf("last status %+v after %d", last, first)
	}
}

// A publish whose answer was lost is sent again with the same event id.
func TestRepeatedPublishIsRecognised(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	m, err := b.jobEvent(kindStatus, job("j1", "a"), job("j1", "a"))
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for range 2 {
		seq, err := b.commit(ctx, jobsStream, m, publicSubject("a", "j1", kindStatus), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	if seqs[0] != seqs[1] {
		t.Errorf("sequences %v differ", seqs)
	}
}

// What a core subscriber sees is what was committed, under the public subject, once.
func TestSubscribersSeeOnlyCommittedMessages(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	sub, err := b.nc.SubscribeSync("netlab.jobs.>")
	if err != nil {
		t.Fatal(err)
	}
	winner, loser := job("j1", "a"), job("j1", "a")
	winner.Phase, loser.Phase = "winner", "loser"
	if _, err := b.PublishStatus(ctx, winner, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PublishStatus(ctx, loser, 0); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	if _, err := b.PublishLog(ctx, &Chunk{Host: "a", Job: "j1", Text: []byte("hello\n")}, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ subject, text string }{
		{"netlab.jobs.a.j1.status", "winner"},
		{"netlab.jobs.a.j1.log", "hello\n"},
	} {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != want.subject || !strings.Contains(string(m.Data), want.text) {
			t.Errorf("got %s %s, want %s with %q", m.Subject, m.Data, want.subject, want.text)
		}
		if m.Header.Get(headerSpecVersion) != "1.0" || m.Header.Get(headerEventID) == "" || m.Header.Get("Nats-Sequence") == "" {
			t.Errorf("headers %v", m.Header)
		}
	}
	if n, _, _ := sub.Pending(); n != 0 {
		t.Errorf("%d more messages", n)
	}
}

func TestLogChunksAreFencedAndReadInOrder(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.LastChunk(ctx, "a", "j1"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("no log yet: %v", err)
	}
	var last uint64
	want := ""
	for i := range 5 {
		text := fmt.Sprintf("line %d\n", i)
		seq, err := b.PublishLog(ctx, &Chunk{Host: "a", Job: "j1", Offset: int64(len(want)), Text: []byte(text)}, last)
		if err != nil {
			t.Fatal(err)
		}
		last, want = seq, want+text
	}
	if _, err := b.PublishLog(ctx, &Chunk{Host: "a", Job: "j1", Text: []byte("again")}, 0); !errors.Is(err, ErrConflict) {
		t.Fatalf("a second publisher: %v", err)
	}
	chunk, err := b.LastChunk(ctx, "a", "j1")
	if err != nil {
		t.Fatal(err)
	}
	if chunk.End() != int64(len(want)) || chunk.Seq != last {
		t.Errorf("last chunk ends at %d (sequence %d), want %d (%d)", chunk.End(), chunk.Seq, len(want), last)
	}
	var got strings.Builder
	if err := b.ReadLog(ctx, "a", "j1", func(c *Chunk) error {
		if c.Offset != int64(got.Len()) {
			return fmt.Errorf("offset %d at %d", c.Offset, got.Len())
		}
		got.Write(c.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
	if err := b.ReadLog(ctx, "a", "none", func(*Chunk) error { return nil }); err != nil {
		t.Errorf("a log that is not there: %v", err)
	}
}

func TestFollowJobsGivesTheLastOfEachAndThenTheNew(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	ctx, cancel := context.WithCancel(ctx)
	if _, err := b.Submit(ctx, &Birth{Job: *job("old", "a")}); err != nil {
		t.Fatal(err)
	}
	var seq uint64
	for _, phase := range []string{"one", "two"} {
		j := job("old", "a")
		j.State, j.Phase = jobs.Running, phase
		var err error
		if seq, err = b.PublishStatus(ctx, j, seq); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		done <- b.FollowJobs(ctx, false, func(m *JobMessage) { seen <- m.ID + " " + string(m.State) + " " + m.Phase },
			func(id string, _ uint64) { seen <- "cancel " + id }, func() { seen <- "caught up" })
	}()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case got := <-seen:
				if got != w {
					t.Errorf("got %q, want %q", got, w)
				}
			case <-ctx.Done():
				t.Fatalf("no %q", w)
			}
		}
	}
	expect("old queued ", "old running two", "caught up")
	if _, err := b.Submit(ctx, &Birth{Job: *job("new", "a")}); err != nil {
		t.Fatal(err)
	}
	expect("new queued ")
	for _, id := range []string{"old", "new", "old"} {
		if _, err := b.RequestCancel(ctx, "a", id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.CancelQueued(ctx, func() *jobs.Job { j := job("new", "a"); j.State = jobs.Canceled; return j }()); err != nil {
		t.Fatal(err)
	}
	expect("cancel old", "cancel new", "new canceled ")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Of what was there at the start a birth is read where nothing else is known of its job, and before a request for the job's end.
func TestFollowJobsReadsHistory(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	for _, id := range []string{"ended", "queued", "canceled", "later"} {
		if _, err := b.Submit(ctx, &Birth{Job: *job(id, "a")}); err != nil {
			t.Fatal(err)
		}
	}
	ended := job("ended", "a")
	ended.State = jobs.Success
	if _, err := b.PublishStatus(ctx, ended, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RequestCancel(ctx, "a", "canceled"); err != nil {
		t.Fatal(err)
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := make(chan string, 100)
	err := b.FollowJobs(following, true, func(m *JobMessage) {
		if seen <- fmt.Sprint(m.ID, " ", m.State, " ", m.Seq, " born ", m.Born); m.ID == "new" {
			cancel()
		}
	}, func(id string, _ uint64) { seen <- "cancel " + id }, func() {
		seen <- "caught up"
		if _, err := b.Submit(ctx, &Birth{Job: *job("new", "a")}); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		t.Error(err)
	}
	close(seen)
	var got []string
	for text := range seen {
		got = append(got, text)
	}
	want := []string{
		"ended success 5 born 1", "canceled queued 3 born 0", "cancel canceled", "queued queued 2 born 0", "later queued 4 born 0", "caught up",
		"new queued 7 born 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRequestsComeInOrderUntilTaken(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if err := b.EnsureConsumer(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"j1", "j2"} {
		if _, err := b.Submit(ctx, &Birth{Job: *job(id, "a")}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Submit(ctx, &Birth{Job: *job("other-"+id, "b")}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var got []string
	err := b.TakeRequests(ctx, "a", func() {}, func(_ context.Context, birth *Birth, _ uint64) error {
		got = append(got, birth.ID)
		switch len(got) {
		case 1:
			return errors.New("disk full")
		case 3:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"j1", "j1", "j2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLeaseBelongsToOneIdentity(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	mine := &hosts.Host{Name: "a", Identity: "one", Slots: 1}
	lease, err := b.AcquireLease(ctx, mine)
	if err != nil {
		t.Fatal(err)
	}
	if lease.TTL != testLimits.Lease {
		t.Errorf("TTL %s", lease.TTL)
	}
	var taken *TakenError
	if _, err := b.AcquireLease(ctx, &hosts.Host{Name: "a", Identity: "two"}); !errors.As(err, &taken) || taken.Identity != "one" {
		t.Fatalf("another identity: %v, want a TakenError", err)
	}
	again, err := b.AcquireLease(ctx, mine)
	if err != nil {
		t.Fatalf("the same identity: %v", err)
	}
	// Of two processes with one identity, from a copied data directory, the later one has it, whatever the clock said to each.
	var twin *Lease
	for _, off := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		later := *mine
		later.StartedAt = mine.StartedAt.Add(off)
		if twin, err = b.AcquireLease(ctx, &later); err != nil {
			t.Fatal(err)
		}
		if err := again.Renew(ctx, mine); !errors.As(err, &taken) || !taken.Copy {
			t.Errorf("renewal by the earlier process: %v, want a TakenError", err)
		}
		if err := twin.Renew(ctx, &later); err != nil {
			t.Errorf("renewal by the later process: %v", err)
		}
	}
	if err := twin.Release(ctx); err != nil {
		t.Fatal(err)
	}
	mine.Slots = 2
	if err := lease.Renew(ctx, mine); err != nil {
		t.Fatalf("renewal over an older revision of one's own: %v", err)
	}
	if err := again.Renew(ctx, mine); err != nil {
		t.Fatal(err)
	}

	events := make(chan HostEvent, 10)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.WatchHosts(ctx, func(e HostEvent) { events <- e }, func() { events <- HostEvent{Name: "caught up"} })
	}()
	defer func() { cancel(); <-done }()
	if e := <-events; e.Name != "a" || e.Host.Slots != 2 {
		t.Errorf("got %+v", e)
	}
	if e := <-events; e.Name != "caught up" {
		t.Errorf("got %+v", e)
	}
	if err := again.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Name != "a" || e.Host != nil {
		t.Errorf("after the release: %+v", e)
	}
	if _, err := b.AcquireLease(ctx, &hosts.Host{Name: "a", Identity: "two"}); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestPlacementHasOneWinner(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.PlaceOf(ctx, "/home/x"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	for _, host := range []string{"a", "b"} {
		got, isNew, err := b.Place(ctx, "/home/x", host)
		if err != nil {
			t.Fatal(err)
		}
		if got != "a" || isNew != (host == "a") {
			t.Errorf("placed on %s, new: %v; want a, which had it first", got, isNew)
		}
	}
}

func TestAskAndAnswer(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.Ask(ctx, "a", "status", nil); !errors.Is(err, ErrHostAway) {
		t.Fatalf("nobody there: %v", err)
	}
	large := strings.Repeat("x", 3*replyChunk+7)
	serving, stop := context.WithCancel(ctx)
	finish, err := b.Answer(serving, "a", "status", func(_ context.Context, q []byte) ([]byte, error) {
		if string(q) == `"fail"` {
			return nil, errors.New("no\nNetlab")
		}
		if string(q) == `"panic"` {
			panic("of an endpoint")
		}
		return []byte(large), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// From now on it is there.
	got, err := b.Ask(ctx, "a", "status", 1)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != large {
		t.Errorf("reply of %d bytes, want %d", len(got), len(large))
	}
	var refused *HostError
	if _, err := b.Ask(ctx, "a", "status", "fail"); !errors.As(err, &refused) || refused.Text != "no Netlab" {
		t.Errorf("refusal: %v", err)
	}
	if _, err := b.Ask(ctx, "a", "status", "panic"); !errors.As(err, &refused) || !strings.Contains(refused.Text, "internal error") {
		t.Errorf("panic: %v", err)
	}
	if got, err := b.Ask(ctx, "a", "status", 1); err != nil || string(got) != large {
		t.Errorf("after a panic: %d bytes, %v", len(got), err)
	}
	stop()
	finish()
	if _, err := b.Ask(ctx, "a", "status", 1); !errors.Is(err, ErrHostAway) {
		t.Errorf("after the end: %v", err)
	}
}

// Thousands of clients may wait for hosts at once. Not in parallel: it looks at what the process allocates.
func TestAQuestionNeedsLittleMemory(t *testing.T) {
	ctx, b := ready(t)
	answering, stop := context.WithCancel(ctx)
	finish, err := b.Answer(answering, "a", "echo", func(_ context.Context, q []byte) ([]byte, error) { return q, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); finish() }()
	const questions, most = 100, 128 << 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range questions {
		if _, err := b.Ask(ctx, "a", "echo", "hello"); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / questions; each > most {
		t.Errorf("%d bytes are allocated for a question, want at most %d", each, most)
	}
}

func TestEnsureStreamsMendsOrRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*jetstream.StreamConfig)
		refuse string
	}{
		{name: "limits", change: func(c *jetstream.StreamConfig) {
			c.MaxBytes, c.MaxAge, c.Discard = 1<<20, time.Hour, jetstream.DiscardOld
		}},
		{name: "no direct get", change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		{name: "no republish", change: func(c *jetstream.StreamConfig) { c.RePublish = nil }},
		{name: "rollup", change: func(c *jetstream.StreamConfig) { c.AllowRollup = true }, refuse: "allow_rollup_hdrs is true, should be false"},
		{name: "memory", change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, refuse: "storage is"},
		{name: "work queue", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, refuse: "retention is"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, b := deadline(t), newBus(t)
			wrong := wantedStreams(testLimits)[0]
			test.change(&wrong)
			if _, err := b.js.CreateStream(ctx, wrong); err != nil {
				t.Fatal(err)
			}
			err := b.EnsureStreams(ctx, testLimits)
			if test.refuse != "" {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.refuse) {
					t.Fatalf("got %v, want a refusal with %q", err, test.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			stream, err := b.js.Stream(ctx, jobsStream)
			if err != nil {
				t.Fatal(err)
			}
			_, changed, refused := reconcile(stream.CachedInfo().Config, wantedStreams(testLimits)[0], stream.CachedInfo().State)
			if len(changed)+len(refused) > 0 {
				t.Errorf("still differs: %v %v", changed, refused)
			}
			if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); err != nil {
				t.Error(err)
			}
			// The streams are as they should be: a second API changes nothing.
			if err := b.EnsureStreams(ctx, testLimits); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestListenerAsksForItsKey(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if _, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a key: %v", err)
	}
	for name, c := range map[string]Config{
		"over the listener": {URL: s.URL(), Creds: s.CredsFile},
		"in process":        {Server: s, Creds: s.CredsFile},
	} {
		b := connect(t, c)
		if err := b.EnsureStreams(ctx, testLimits); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealedValuesOpenWithTheHostsKeyAlone(t *testing.T) {
	t.Parallel()
	key, err := LoadHostKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	other, err := LoadHostKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"TOKEN": "correct horse"}
	sealed, err := SealEnvironment(want, public)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed.Data), "horse") {
		t.Error("the value is readable")
	}
	got, err := key.Open(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := other.Open(sealed); err == nil {
		t.Error("another host's key opens it")
	}
}

// A bus that is away answers at once and with an error that says so.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	b := connect(t, Config{URL: "nats://127.0.0.1:1"})
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("submit: %v", err)
	}
	if _, err := b.Ask(ctx, "a", "status", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("ask: %v", err)
	}
	if b.Connected() {
		t.Error("connected")
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	_, err := b.Submit(ctx, &Birth{Job: *job("j1", "a"), Topology: strings.Repeat("x", MaxMessage)})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// A stream that the disk has no room for is an error at once, not a wait for ever.
func TestStreamsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	ctx, b := deadline(t), newBus(t)
	limits := testLimits
	limits.LogsBytes = 1 << 60
	err := b.EnsureStreams(ctx, limits)
	if err == nil || !strings.Contains(err.Error(), "NETLAB_BUS_LOGS_BYTES") || errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
}

// A stream of somebody else's with subjects of ours is named by what is in the way, and only such a one.
func TestStreamsWhoseSubjectsAnotherHas(t *testing.T) {
	t.Parallel()
	ctx, b := deadline(t), newBus(t)
	if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{intake + "*.*.log"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureStreams(ctx, testLimits); err == nil || !strings.Contains(err.Error(), "another stream has some of its subjects (netlab.in.*.*.log)") {
		t.Errorf("got %v", err)
	}
	if err := b.js.DeleteStream(ctx, "OTHER"); err != nil {
		t.Fatal(err)
	}
	limits := testLimits
	limits.Lease = -1
	if err := b.EnsureStreams(ctx, limits); err == nil || strings.Contains(err.Error(), "another stream") {
		t.Errorf("got %v", err)
	}
}

func TestReplicasOfAServerThatIsAlone(t *testing.T) {
	t.Parallel()
	ctx, b := deadline(t), newBus(t)
	limits := testLimits
	limits.Replicas = 3
	if err := b.EnsureStreams(ctx, limits); err == nil || !strings.Contains(err.Error(), "NETLAB_BUS_REPLICAS") {
		t.Errorf("got %v", err)
	}
}

// What this program has given birth to is not decoded again when it comes back, and is what anybody else reads.
func TestOwnBirthsAreAsOthersReadThem(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	other := connect(t, Config{Server: s, Source: "/other"})
	own := job("j1", "a")
	own.Warnings, own.Request.Environment = []string{"<a> & \u00e4"}, map[string]string{"A": jobs.Masked}
	if _, err := b.Submit(ctx, &Birth{Job: *own, Topology: "nodes: [ a ]"}); err != nil {
		t.Fatal(err)
	}
	read := func(b *Bus) (got *JobMessage) {
		following, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = b.FollowJobs(following, false, func(m *JobMessage) { got = m }, func(string, uint64) {}, cancel)
		return got
	}
	if len(b.given.births) != 1 {
		t.Error("the birth is not kept until it comes back")
	}
	if diff := cmp.Diff(read(other), read(b)); diff != "" {
		t.Errorf("(-others +own):\n%s", diff)
	}
	if len(b.given.births) != 0 {
		t.Error("it is kept though it came back")
	}
	// The same id with another text: another API's birth in a stream that was made anew.
	b.given.add(job("j1", "a"), []byte(`{"id":"j1"}`))
	if diff := cmp.Diff(read(other), read(b)); diff != "" {
		t.Errorf("another one's birth (-others +own):\n%s", diff)
	}
}

// A birth that failed is not waited for, nor are more than a thousand.
func TestFewOwnBirthsAreKept(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	for range 2 {
		_, _ = b.Submit(ctx, &Birth{Job: *job("j1", "a")})
	}
	if len(b.given.births) != 0 {
		t.Error("one that failed is kept")
	}
	for n := range maxGiven + 1 {
		b.given.add(job(fmt.Sprint("j", n), "a"), nil)
	}
	if got := len(b.given.births); got != 1 {
		t.Errorf("%d are kept", got)
	}
}

// A job whose later states would not fit is refused at its birth, not when it ends.
func TestJobsOfWhichTheStatesWouldNotFitAreRefused(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	large := job("j1", "a")
	large.Request.Environment = map[string]string{"NETLAB_X": strings.Repeat("x", MaxMessage-statusRoom)}
	if _, err := b.Submit(ctx, &Birth{Job: *large}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// What is not the host's own well-formed request is skipped, and does not hold up what comes behind it.
func TestForeignRequestsAreSkipped(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if err := b.EnsureConsumer(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for id, body := range map[string]string{
		"empty": `{}`, "torn": `{"id":`, "host": `{"id":"host","host":"b"}`, "id": `{"id":"other","host":"a"}`,
	} {
		if _, err := b.js.Publish(ctx, intakeSubject("a", id, kindRequest), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("good", "a")}); err != nil {
		t.Fatal(err)
	}
	taking, cancel := context.WithCancel(ctx)
	err := b.TakeRequests(taking, "a", func() {}, func(_ context.Context, birth *Birth, _ uint64) error {
		if birth.ID != "good" {
			t.Errorf("got %q", birth.ID)
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

func TestAnswersAreBoundedAndWaitedFor(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	var working, most atomic.Int32
	reached := make(chan struct{}, 100)
	serving, stop := context.WithCancel(ctx)
	finish, err := b.Answer(serving, "a", "slow", func(ctx context.Context, _ []byte) ([]byte, error) {
		n := working.Add(1)
		defer working.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		reached <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * answers {
		if err := b.nc.PublishRequest("netlab.hosts.a.slow", "nobody", nil); err != nil {
			t.Fatal(err)
		}
	}
	for range answers {
		select {
		case <-reached:
		case <-ctx.Done():
			t.Fatal("no question arrived")
		}
	}
	stop()
	finish()
	if most.Load() != answers || working.Load() != 0 {
		t.Errorf("%d at once, %d after the end", most.Load(), working.Load())
	}
}

// A message tells of the job that its subject names, or of none.
func TestForeignStatesAreSkipped(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.Submit(ctx, &Birth{Job: *job("mine", "a")}); err != nil {
		t.Fatal(err)
	}
	for subject, body := range map[string]string{
		"b.zzz.status": `{"id":"mine","host":"a","state":"failed"}`, "a.mine.status": `{"id":"mine","host":"a","state":"odd"}`,
		"a.torn.status": `xx`, "a.empty.request": `{}`,
	} {
		if _, err := b.js.Publish(ctx, intake+subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, history := range []bool{false, true} {
		following, cancel := context.WithCancel(ctx)
		var seen []string
		_ = b.FollowJobs(following, history, func(m *JobMessage) { seen = append(seen, m.ID+" "+string(m.State)) }, func(string, uint64) {}, cancel)
		if diff := cmp.Diff([]string{"mine queued"}, seen); diff != "" {
			t.Error(diff)
		}
	}
	if got, err := b.FindJob(ctx, "mine"); err != nil || got.State != jobs.Queued {
		t.Errorf("found %+v %v", got, err)
	}
	for _, id := range []string{"torn", "empty"} {
		if _, err := b.FindJob(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A consumer that somebody made differently is brought in line; one that is right is not touched.
func TestEnsureConsumer(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	wrong := jetstream.ConsumerConfig{
		Durable: "a", FilterSubject: publicSubject("a", "*", kindRequest), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 100,
	}
	if _, err := b.js.CreateConsumer(ctx, jobsStream, wrong); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.EnsureConsumer(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		consumer, err := b.js.Consumer(ctx, jobsStream, "a")
		if err != nil {
			t.Fatal(err)
		}
		if c := consumer.CachedInfo().Config; c.MaxAckPending != 1 || c.AckWait != redeliverAfter {
			t.Errorf("%+v", c)
		}
	}
}

// A stream that is nearly full takes no more jobs, and still the states of those that it has.
func TestRoomForStates(t *testing.T) {
	t.Parallel()
	ctx, _, b := readyServer(t)
	limits := testLimits
	limits.JobsBytes = 1 << 20
	if err := b.EnsureStreams(ctx, limits); err != nil {
		t.Fatal(err)
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _ = b.FollowJobs(following, false, func(*JobMessage) {}, func(string, uint64) {}, func() {}) }()
	var born []*jobs.Job
	for {
		j := job(fmt.Sprint("j", len(born)), "a")
		birth := &Birth{Job: *j}
		if len(born) < 15 {
			birth.Topology = strings.Repeat("x", 63<<10) // 94 % in all
		}
		_, err := b.Submit(ctx, birth)
		if errors.Is(err, ErrFull) && strings.Contains(err.Error(), "NETLAB_BUS_JOBS_BYTES") {
			break
		}
		if err != nil {
			t.Fatalf("after %d births: %v", len(born), err)
		}
		if born = append(born, j); len(born) > 15 {
			time.Sleep(100 * time.Millisecond) // until the next look
		}
	}
	for _, j := range born[:15] {
		j.State = jobs.Running
		if _, err := b.PublishStatus(ctx, j, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.RequestCancel(ctx, "a", j.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.EnsureStreams(ctx, testLimits); err != nil { // with more room
		t.Fatal(err)
	}
	for again := (&Birth{Job: *job("again", "a")}); ; time.Sleep(100 * time.Millisecond) { // until the next look
		if _, err := b.Submit(ctx, again); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no job is taken though there is room again")
		}
	}
}
