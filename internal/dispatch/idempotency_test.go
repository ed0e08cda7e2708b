package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

// replica is another API on the same bus.
func (b *bundle) replica() *bundle {
	b.t.Helper()
	logs, err := logfile.Open(b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	v := view.New(b.bus, logs, b.t.TempDir()+"/cursor", time.Minute, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done })
	b.await(v.CaughtUp)
	return &bundle{t: b.t, bus: b.bus, view: v, Dispatcher: New(b.bus, v, nil)}
}

// prefers makes this API alone believe that every host but one is full.
func (b *bundle) prefers(host string) {
	b.t.Helper()
	b.await(func() bool { return len(b.view.Hosts()) == 2 })
	for _, h := range b.view.Hosts() {
		for n := range 20 {
			if h.Name != host {
				b.view.Add(&bus.Birth{Job: jobs.Job{ID: h.Name + string(rune('a'+n)), State: jobs.Queued, Host: h.Name}}, uint64(1_000_000+n))
			}
		}
	}
}

func (b *bundle) once(key *Key, fields map[string]any) (jobs.Job, bool, error) {
	b.t.Helper()
	return b.SubmitOnce(b.t.Context(), payload(b.t, fields), key)
}

// Requests with one key that arrive at once, at two APIs that choose different hosts, make one job with one object.
func TestOneKeyIsOneJob(t *testing.T) {
	t.Parallel()
	one := setup(t)
	one.keyed("a")
	one.keyed("b")
	two := one.replica()
	one.prefers("a")
	two.prefers("b")
	large := "nodes: [ r1 ]\n#" + strings.Repeat("x", largeTopology)
	asked := payload(t, map[string]any{"action": "validate", "workdir": "/labs/x", "topology": large, "environment": map[string]string{"TOKEN": "correct-horse"}})
	placed := map[string]int{}
	for round := range 20 {
		key := NewKey([]byte("somebody"), string(rune('a'+round)))
		var wg sync.WaitGroup
		var mu sync.Mutex
		ids, made := map[string]int{}, 0
		for n := range 6 {
			d := []*bundle{one, two}[(n+round)%2] // the last one that is started is often the first that runs
			wg.Go(func() {
				job, replayed, err := d.SubmitOnce(t.Context(), asked, key)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				ids[job.ID]++
				if !replayed {
					made++
					placed[job.Host]++
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 || made != 1 {
			t.Fatalf("round %d: jobs %v, made %d times", round, ids, made)
		}
		for id := range ids {
			birth, err := one.bus.FindBirth(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := one.bus.Object(t.Context(), birth.Host, id, birth.Object); err != nil || string(got) != large {
				t.Errorf("the object of %s: %d bytes, %v", id, len(got), err)
			}
			if text, _ := json.Marshal(birth); strings.Contains(string(text), "correct-horse") {
				t.Errorf("the secret is readable in %s", text)
			}
		}
	}
	if len(placed) != 2 {
		t.Errorf("the two APIs placed all on %v: the test tests nothing", placed)
	}
}

// Of two requests with one key and different objects one wins, and its object is whole.
func TestALosersObjectHurtsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	other := b.replica()
	b.await(func() bool { return len(other.view.Hosts()) == 1 })
	var asked []*jobs.Payload
	for _, letter := range []string{"x", "y"} {
		text := "nodes: [ r1 ]\n#" + strings.Repeat(letter, 5*largeTopology)
		asked = append(asked, payload(t, map[string]any{"workdir": "/labs/x", "topology": text}))
	}
	for round := range 20 {
		key := NewKey([]byte("somebody"), string(rune('a'+round)))
		var wg sync.WaitGroup
		won := make(chan string, 2)
		for n, d := range []*bundle{b, other} {
			p := asked[n]
			wg.Go(func() {
				_, replayed, err := d.SubmitOnce(t.Context(), p, key)
				var reused *KeyReusedError
				switch {
				case err == nil && !replayed:
					won <- p.Topology
				case !errors.As(err, &reused):
					t.Errorf("replayed %v, %v", replayed, err)
				}
			})
		}
		wg.Wait()
		close(won)
		text, ok := <-won
		birth, err := b.bus.FindBirth(t.Context(), key.id)
		if !ok || err != nil {
			t.Fatalf("nobody won: %v", err)
		}
		if got, err := b.bus.Object(t.Context(), "a", birth.ID, birth.Object); err != nil || string(got) != text {
			t.Fatalf("round %d: the winner's object: %d bytes, %v", round, len(got), err)
		}
	}
}

func TestAnotherBodyWithTheSameKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	key := NewKey([]byte("somebody"), "k")
	body := func(change map[string]any) map[string]any {
		fields := map[string]any{"workdir": "/labs/x", "environment": map[string]string{"PIN": "1234"}, "topologyUrl": "https://example.com/t?pin=1"}
		for k, v := range change {
			fields[k] = v
		}
		return fields
	}
	first, replayed, err := b.once(key, body(nil))
	if err != nil || replayed {
		t.Fatalf("replayed %v, %v", replayed, err)
	}
	// What means the same is the same: an unknown field, a default that is written out.
	for _, change := range []map[string]any{nil, {"action": "UP"}, {"unknown": 1}} {
		if job, replayed, err := b.once(key, body(change)); err != nil || !replayed || job.ID != first.ID {
			t.Errorf("%v: job %s replayed %v, %v", change, job.ID, replayed, err)
		}
	}
	for _, change := range []map[string]any{
		{"workdir": "/labs/y"},
		{"action": "down"},
		{"environment": map[string]string{"PIN": "1235"}},
		{"topologyUrl": "https://example.com/t?pin=2"},
		{"host": "a"},
	} {
		var reused *KeyReusedError
		if _, _, err := b.once(key, body(change)); !errors.As(err, &reused) || reused.Job != first.ID || !strings.HasPrefix(err.Error(), "Idempotency-Key: ") {
			t.Errorf("%v: %v, want a KeyReusedError", change, err)
		}
	}
	// Another client's key of the same name, and another name, are other jobs.
	for _, other := range []*Key{NewKey([]byte("another"), "k"), NewKey([]byte("somebody"), "k2")} {
		if job, replayed, err := b.once(other, body(nil)); err != nil || replayed || job.ID == first.ID {
			t.Errorf("job %s replayed %v, %v", job.ID, replayed, err)
		}
	}
}

// What a key's job became does not matter, and no host is needed to say so.
func TestAKeyIsKnownAsLongAsItsJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lease := b.host(hosts.Host{Name: "a", Slots: 1})
	key := NewKey([]byte("somebody"), "k")
	fields := map[string]any{"workdir": "/labs/x"}
	job, _, err := b.once(key, fields)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.await(func() bool { h, _ := b.view.Host("a"); return !h.Online })
	got, replayed, err := b.replica().once(key, fields)
	if err != nil || !replayed || got.ID != job.ID || got.State != jobs.Canceled {
		t.Errorf("%s is %s, replayed %v, %v", got.ID, got.State, replayed, err)
	}
}

// An answer that was lost leaves a client in doubt. Its next try, at another API, finds the job or makes it.
func TestAKeyEndsTheDoubtOfALostAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	other := b.replica()
	b.await(func() bool { return len(other.view.Hosts()) == 1 })
	fields := map[string]any{"workdir": "/labs/x"}
	doubts := 0
	for round := range 60 {
		key := NewKey([]byte("somebody"), string(rune('a'+round)))
		// The client gives up at some moment of the request.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*100*time.Microsecond)
		first, _, err := b.SubmitOnce(ctx, payload(t, fields), key)
		cancel()
		if err != nil {
			doubts++
		}
		second, _, again := other.once(key, fields)
		third, replayed, last := b.once(key, fields)
		if again != nil || last != nil || !replayed || second.ID != third.ID || (err == nil && first.ID != second.ID) {
			t.Fatalf("round %d: %s %v, %s %v, %s %v", round, first.ID, err, second.ID, again, third.ID, last)
		}
	}
	if doubts == 0 {
		t.Error("every request was answered: the test tests nothing")
	}
	b.await(func() bool {
		page, _, err := other.view.Page(view.Filter{}, 1000, "")
		return err == nil && len(page) == 60
	})
}

// A request that broke off between its job and the place of its directory is whole once it is sent again, as long as the job
// lasts. Later the directory may be elsewhere, and stays there.
func TestAKeySettlesThePlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	b.keyed("b")
	b.await(func() bool { return len(b.view.Hosts()) == 2 })
	key, fields := NewKey([]byte("somebody"), "a"), map[string]any{"workdir": "/labs/x", "host": "b"}
	job, _, err := b.once(key, fields)
	if err != nil {
		t.Fatal(err)
	}
	again := func(want string) {
		t.Helper()
		if err := b.bus.MovePlace(t.Context(), "/labs/x", "a"); err != nil {
			t.Fatal(err)
		}
		if got, replayed, err := b.once(key, fields); err != nil || !replayed || got.ID != job.ID {
			t.Fatalf("%s, replayed %v, %v", got.ID, replayed, err)
		}
		if got, err := b.bus.PlaceOf(t.Context(), "/labs/x"); err != nil || got != want {
			t.Errorf("the directory is on %s, want %s; %v", got, want, err)
		}
	}
	again("b")
	if _, err := b.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	b.await(func() bool { j, err := b.view.Job(t.Context(), job.ID); return err == nil && j.State == jobs.Canceled })
	again("a")
}

func TestIDsOfKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, credential := range []string{"", "a", "b"} {
		for _, text := range []string{"a", "b", "aa", strings.Repeat("x", 255)} {
			id := NewKey([]byte(credential), text).id
			if !jobs.ValidID(id) || seen[id] {
				t.Errorf("%q %q: id %s", credential, text, id)
			}
			seen[id] = true
			if again := NewKey([]byte(credential), text).id; again != id {
				t.Errorf("%s, then %s", id, again)
			}
		}
	}
}

// Programs of several versions serve one client: what they make of its key and payload is one, or they say that it is of
// another rule. Whoever has to change the values here raises fingerprintVersion.
func TestKeysAndFingerprintsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	key := NewKey([]byte("somebody"), "k1")
	if key.id != "a04593d8-639d-8690-8c36-b180c0e56126" {
		t.Errorf("the id of a key is %s now: a job that was accepted would be made again", key.id)
	}
	got, err := key.fingerprint(payload(t, map[string]any{
		"action": "up", "user": "u1", "workspace": "w", "deployment": "d", "workspaceRoot": "/labs", "plugin": "multilab",
		"instance": 3, "stateRoot": "/labs/state", "topology": "nodes: [ r1 ]\n", "collectOutput": "out", "collectTar": "out.tar.gz",
		"collectCleanup": true, "cleanup": true, "environment": map[string]string{"TOKEN": "correct-horse", "PLAIN": "1"},
		"timeoutSeconds": 60, "host": "a", "labels": map[string]string{"rack": "4"},
	}))
	if err != nil || got != "1.df2b487a0342d60bcbd9ca7f7c8ed8c10aa6bb1ad31f40edcc16740cbc971eb7" {
		t.Errorf("the fingerprint is %q now (%v)", got, err)
	}
	for _, tc := range []struct {
		stored  string
		differs bool
	}{
		{got, false},
		{got[:len(got)-1] + "x", true},
		{"0" + got[1:len(got)-1] + "x", false}, // nobody can tell
	} {
		if differs(tc.stored, got) != tc.differs {
			t.Errorf("%q: differs %v", tc.stored, !tc.differs)
		}
	}
}

// Once a job is let go, its key makes another one.
func TestTheKeyOfAJobThatWasLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	key := NewKey([]byte("somebody"), "k")
	asked := map[string]any{"action": "status", "workdir": "/labs/x"}
	first, replayed, err := b.once(key, asked)
	if err != nil || replayed {
		t.Fatal(replayed, err)
	}
	if _, err := b.Cancel(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	var oldest []view.Ended
	b.await(func() bool { oldest, _, _ = b.view.Ended(1); return len(oldest) == 1 })
	if got, replayed, err := b.once(key, asked); err != nil || !replayed || got.State != jobs.Canceled {
		t.Fatalf("before: %s %v %v", got.State, replayed, err)
	}
	if err := b.bus.LetGo(t.Context(), &oldest[0].Job, oldest[0].UpTo); err != nil {
		t.Fatal(err)
	}
	b.view.Forget(&oldest[0])
	again, replayed, err := b.once(key, asked)
	if err != nil || replayed || again.State != jobs.Queued || again.ID != first.ID {
		t.Errorf("%+v %v %v", again, replayed, err)
	}
	b.births("a", 1)
}

// A job that is let go between the look for its birth and the look for what has become of it is not told of as it was born.
func TestAKeyWhoseJobIsJustBeingLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	key, fields := NewKey([]byte("credential"), "k"), map[string]any{"workdir": "/labs/x"}
	job, _, err := b.once(key, fields)
	if err != nil {
		t.Fatal(err)
	}
	birth, err := b.bus.FindBirth(t.Context(), job.ID)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for _, e := range []jobs.Event{jobs.Start, jobs.Succeed} {
		if err := job.Move(e, time.Now()); err != nil {
			t.Fatal(err)
		}
		if last, err = b.bus.PublishStatus(t.Context(), &job, last); err != nil {
			t.Fatal(err)
		}
	}
	b.await(func() bool { ended, _, _ := b.view.Ended(1); return len(ended) == 1 })
	ended, _, _ := b.view.Ended(1)
	if err := b.bus.LetGo(t.Context(), &ended[0].Job, ended[0].UpTo); err != nil {
		t.Fatal(err)
	}
	b.view.Forget(&ended[0])
	if again, err := b.again(t.Context(), birth, birth.Fingerprint); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("%s, %v", again.State, err)
	}
	if again, replayed, err := b.once(key, fields); err != nil || replayed || again.State != jobs.Queued {
		t.Errorf("then: %s, replayed %t, %v", again.State, replayed, err)
	}
}
