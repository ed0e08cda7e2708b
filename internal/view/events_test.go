package view

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// told is an event in a few words.
func told(e *Event) string {
	text := fmt.Sprintf("%s %s", e.Job.ID, e.Job.State)
	if e.Job.Phase != "" {
		text += " " + e.Job.Phase
	}
	if e.Job.CancelRequested {
		text += " to be canceled"
	}
	return text
}

// reads checks which events come next.
func (b *bundle) reads(f *Follower, want ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var got []string
	for len(got) < len(want) {
		events, err := f.Next(ctx)
		if err != nil {
			b.t.Fatalf("%v after %q, want %q", err, got, want)
		}
		for i := range events {
			got = append(got, told(&events[i]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Error(diff)
	}
}

// nothing checks that the reader has all there is.
func (b *bundle) nothing(f *Follower) {
	b.t.Helper()
	f.current = true
	ctx, cancel := context.WithCancel(b.t.Context())
	cancel()
	if events, err := f.Next(ctx); !errors.Is(err, context.Canceled) {
		b.t.Errorf("%d events, %v", len(events), err)
	}
}

func (b *bundle) phase(job *jobs.Job, phase string, last uint64) uint64 {
	b.t.Helper()
	job.Phase = phase
	return b.move(job, jobs.Progress, last)
}

func TestEventsComeInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.born("old", "a", "/x")
	b.move(old, jobs.Cancel, 0)
	queued := b.born("queued", "a", "/x")
	v, _ := b.run(time.Minute)

	all, own := v.Follow(Filter{}, "", nil), v.Follow(Filter{}, "j1", nil)
	ended := v.Follow(Filter{State: jobs.Success}, "", nil)
	b.reads(all, "queued queued")
	b.nothing(all)

	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	seq = b.phase(job, "start", seq)
	if _, err := b.bus.RequestCancel(t.Context(), "a", "queued"); err != nil {
		t.Fatal(err)
	}
	seq = b.phase(job, "initial", seq)
	b.move(job, jobs.Succeed, seq)
	b.move(queued, jobs.Cancel, 0)
	b.reads(all, "j1 queued", "j1 running", "j1 running start", "queued queued to be canceled", "j1 running initial", "j1 success", "queued canceled to be canceled")
	b.reads(own, "j1 queued", "j1 running", "j1 running start", "j1 running initial", "j1 success")
	b.reads(ended, "j1 success")
	if !own.Over() || all.Over() {
		t.Errorf("over: %v, %v", own.Over(), all.Over())
	}

	// From any event on, the rest is the same.
	var seqs []uint64
	again := v.Follow(Filter{}, "", at(v.events.start))
	for len(seqs) < 7 {
		events, err := again.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			seqs = append(seqs, e.ID.Seq)
		}
	}
	b.reads(v.Follow(Filter{}, "", at(seqs[3])), "j1 running initial", "j1 success", "queued canceled to be canceled")
	b.reads(v.Follow(Filter{}, "j1", at(seqs[2])), "j1 running initial", "j1 success")
	b.reads(v.Follow(Filter{}, "j1", nil), "j1 success")
	b.nothing(v.Follow(Filter{}, "", at(seqs[6])))
	// What was before the start is told as it is now.
	zero := uint64(0)
	b.reads(v.Follow(Filter{}, "", at(zero)), "old canceled", "j1 success", "queued canceled to be canceled")
	b.reads(v.Follow(Filter{Action: jobs.Create, State: jobs.Canceled}, "", at(zero)), "old canceled", "queued canceled to be canceled")

	// A cancel request behind the end, which an earlier release let through, is no event.
	bustest.Publish(t, b.server, "netlab.in.a.j1.cancel", nil)
	b.born("j2", "a", "/y")
	b.reads(all, "j2 queued")
}

// An event never says what a read does not show yet, and one that waits for its log lets none past.
func TestEventsWaitForTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fillDelay = time.Minute // the rest comes by itself
	v, _ := b.run(time.Minute)
	f := v.Follow(Filter{}, "", nil)
	job := b.born("j1", "a", "/x")
	other := b.born("j2", "a", "/y")
	seq := b.move(job, jobs.Start, 0)
	chunk := b.log(job, "first\n", 0)
	b.reads(f, "j1 queued", "j2 queued", "j1 running")
	job.LogBytes += 7
	ended := b.move(job, jobs.Succeed, seq)
	b.move(other, jobs.Start, 0)
	b.eventually("the later job is running", func() bool { return followed(v, "j2") == jobs.Running })
	b.nothing(f)
	if up := v.EventsUpTo(); up >= ended {
		t.Errorf("told up to %d, with %d to come", up, ended)
	}
	// A reader who comes now is told of the later job when it is its turn.
	late := v.Follow(Filter{}, "", nil)
	b.nothing(late)
	job.LogBytes -= 7
	b.log(job, "second\n", chunk)
	b.reads(f, "j1 success", "j2 running")
	b.reads(late, "j1 success", "j2 running")
}

// A job whose log cannot be brought to its whole length does not hold up what is told of the others for ever.
func TestALogThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fillPatience = time.Second
	v, _ := b.run(time.Minute)
	f := v.Follow(Filter{}, "", nil)
	path := v.logs.Path("j1")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(filepath.Join(b.dir, "nowhere", "log"), path)); err != nil {
		t.Fatal(err)
	}
	job, other := b.born("j1", "a", "/x"), b.born("j2", "a", "/y")
	seq := b.move(job, jobs.Start, 0)
	b.log(job, "text\n", 0)
	b.move(job, jobs.Succeed, seq)
	b.move(other, jobs.Start, 0)
	// The logs of others are there meanwhile.
	b.log(other, "of another\n", 0)
	b.eventually("the log of another job has come", func() bool { return v.logs.Get("j2").Size() == 11 })
	b.reads(f, "j1 queued", "j2 queued", "j1 running", "j1 success", "j2 running")
	if log, err := v.Log(t.Context(), "j1"); err == nil {
		t.Errorf("a log that is not whole: %d bytes", log.Size())
	}

	// Who waits for the log is given the rest when it can be had.
	log := v.logs.Get("j1")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for finished := false; !finished; {
		var err error
		if _, finished, err = log.Wait(ctx, 5, nil); err != nil {
			t.Fatalf("%d bytes: %v", log.Size(), err)
		}
	}
	if got := b.text(v, "j1"); got != "text\n" {
		t.Errorf("%q", got)
	}
	b.eventually("nothing is lacking", func() bool { v.mu.RLock(); defer v.mu.RUnlock(); return len(v.lacking)+len(v.retries) == 0 })
	if job, err := v.Job(t.Context(), "j1"); err != nil || len(job.Warnings) > 0 {
		t.Errorf("warnings %q, %v", job.Warnings, err)
	}
}

// What could not be written of the log of a running job is there when it can be, though nothing more is said.
func TestALogThatCanBeWrittenAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	path := v.logs.Path("j1")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(filepath.Join(b.dir, "nowhere", "log"), path)); err != nil {
		t.Fatal(err)
	}
	job := b.born("j1", "a", "/x")
	b.move(job, jobs.Start, 0)
	seq := b.log(job, "one\n", 0)
	b.log(job, "two\n", seq)
	b.eventually("the log cannot be written", func() bool { retrying, _ := v.retrying("j1"); return retrying })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.eventually("the log is whole", func() bool { return v.logs.Get("j1").Size() == job.LogBytes })

	// An API that is started anew before reads it again.
	if err := errors.Join(os.Remove(path), os.Symlink(filepath.Join(b.dir, "nowhere", "log"), path)); err != nil {
		t.Fatal(err)
	}
	other := b.born("j2", "a", "/y")
	b.log(other, "of another\n", 0)
	b.log(job, "three\n", seq+1)
	b.eventually("the log cannot be written", func() bool { retrying, _ := v.retrying("j1"); return retrying })
	stop()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	v, _ = b.run(time.Minute)
	if got := b.text(v, "j1"); got != "one\ntwo\nthree\n" {
		t.Errorf("%q", got)
	}
}

// Where nothing comes of a log, nobody waits for it for ever: neither who fetches it, nor who would fetch another.
func TestALogThatDoesNotCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fillPatience = 2 * time.Second // which the first chunk has, however busy the machine
	v, _ := b.run(time.Minute)
	v.filling <- struct{}{}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := v.fill(short, "a", "j1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another log is fetched: %v", err)
	}
	<-v.filling

	// More chunks than a client asks for at once, of which the bus goes away behind the first.
	job := b.born("j1", "a", "/x")
	var seq uint64
	for range 1200 {
		seq = b.log(job, "text\n", seq)
	}
	b.eventually("the log is there", func() bool { return v.logs.Get("j1").Size() == job.LogBytes })
	if err := os.Remove(v.logs.Path("j1")); err != nil {
		t.Fatal(err)
	}
	if err := v.logs.Get("j1").Check(job.LogBytes); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v.mu.RLock()
	filled := make(chan error, 1)
	go func() { filled <- v.fill(ctx, "a", "j1") }()
	b.eventually("the first chunk has come", func() bool { return v.logs.Get("j1").Size() > 0 })
	b.server.Stop()
	v.mu.RUnlock()
	if err := <-filled; !errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "nothing of the log came") {
		t.Errorf("of a bus that went away: %v, with %d bytes", err, v.logs.Get("j1").Size())
	}
}

// A reader who knows more than this view is told from there on where the view has come so far while the bus was asked: what ended in
// between would be told to nobody who begins anew.
func TestAReaderOnTrust(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.move(job, jobs.Succeed, seq)
	b.born("j2", "a", "/y")
	b.eventually("all is told", func() bool { return followed(v, "j2") == jobs.Queued && v.EventsUpTo() > seq })
	caught := v.FollowOnTrust(Filter{}, "", at(seq))
	b.reads(caught, "j1 success", "j2 queued")
	b.nothing(caught)
	more := v.EventsUpTo() + 1
	anew := v.FollowOnTrust(Filter{}, "", at(more))
	b.reads(anew, "j2 queued")
	b.nothing(anew)
}

// A view that is ahead, because its own API has made a move, tells it once and in its place.
func TestOwnMovesAreToldOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	f := v.Follow(Filter{}, "", nil)
	job := b.born("j1", "a", "/x")
	b.reads(f, "j1 queued")
	v.mu.Lock() // what comes over the bus waits
	seq := b.move(job, jobs.Start, 0)
	v.takeLocked(&bus.JobMessage{Job: *job, Seq: seq})
	late := &Follower{view: v, fresh: true}
	if late.begin(); len(late.present) != 0 {
		t.Errorf("told before its turn: %v", late.present)
	}
	v.mu.Unlock()
	b.reads(f, "j1 running")
	b.nothing(f)
	b.reads(v.Follow(Filter{}, "", nil), "j1 running")

	// A cancel request from before a move that is known is told with that.
	v.mu.Lock()
	if _, err := b.bus.RequestCancel(t.Context(), "a", "j1"); err != nil {
		t.Error(err)
	}
	seq = b.phase(job, "start", seq)
	v.takeLocked(&bus.JobMessage{Job: *job, Seq: seq})
	v.mu.Unlock()
	b.born("j2", "a", "/y")
	b.reads(f, "j1 running start to be canceled", "j2 queued")
}

// replica is another view of the same bus.
func (b *bundle) replica(name string) *View {
	b.t.Helper()
	logs, err := logfile.Open(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	v := New(b.bus, logs, filepath.Join(b.dir, name, "cursor"), time.Minute, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done; _ = logs.Close() })
	b.eventually("caught up", v.CaughtUp)
	return v
}

// Whatever a reader does, reads slowly, goes away, comes back elsewhere, it ends up with the newest state of every job; and it
// has every state where the events are kept.
func TestReadersMissNothing(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]int{"all are kept": maxEvents, "few are kept": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.t = t
			views := []*View{b.replica("one"), b.replica("two")}
			for _, v := range views {
				v.mu.Lock()
				v.events.maxEvents = kept
				v.mu.Unlock()
			}
			const jobCount, steps = 12, 6 // queued, running, three phases, success
			var readers, writers sync.WaitGroup
			for n := range 6 {
				f := views[0].Follow(Filter{}, "", nil)
				readers.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(n)))
					seen := map[string][]string{}
					last, seqs, ended := EventID{}, map[string]uint64{}, 0
					for ended < jobCount {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						events, err := f.Next(ctx)
						cancel()
						if err != nil {
							t.Errorf("reader %d: %v with %v", n, err, seen)
							return
						}
						stop := len(events)
						if len(events) > 0 {
							stop = random.IntN(len(events)) + 1 // the connection breaks in the middle
						}
						for _, e := range events[:stop] {
							if e.ID.Seq <= last.Seq || e.ID.Seq <= seqs[e.Job.ID] {
								t.Errorf("reader %d: %s with %s after %s", n, told(&e), e.ID, last)
							}
							last, seqs[e.Job.ID] = e.ID, e.ID.Seq
							seen[e.Job.ID] = append(seen[e.Job.ID], told(&e))
							if e.Job.State.Terminal() {
								ended++
							}
						}
						time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
						if stop < len(events) || random.IntN(4) == 0 {
							if stop == len(events) {
								last = f.After()
							}
							after := last
							f = views[random.IntN(2)].Follow(Filter{}, "", &after)
						}
					}
					for id, states := range seen {
						if got := states[len(states)-1]; got != id+" success" {
							t.Errorf("reader %d: %s ends as %s", n, id, got)
						}
						if kept == maxEvents && len(states) != steps {
							t.Errorf("reader %d: %q", n, states)
						}
					}
				})
			}
			for n := range jobCount {
				writers.Go(func() {
					job := b.born(fmt.Sprintf("j%d", n), "a", "/x")
					seq := b.move(job, jobs.Start, 0)
					chunk := uint64(0)
					for _, phase := range []string{"create", "start", "initial"} {
						chunk = b.log(job, phase, chunk)
						seq = b.phase(job, phase, seq)
						time.Sleep(time.Millisecond)
					}
					// The end overtakes the log.
					text := "the end\n"
					job.LogBytes += int64(len(text))
					b.move(job, jobs.Succeed, seq)
					job.LogBytes -= int64(len(text))
					b.log(job, text, chunk)
				})
			}
			writers.Wait()
			readers.Wait()
		})
	}
}

// What is kept for readers is bounded by its size, too.
func TestKeptEventsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	v.mu.Lock()
	v.events.maxBytes = 2000
	v.mu.Unlock()
	f := v.Follow(Filter{}, "", nil)
	b.nothing(f)
	for n := range 20 {
		b.born(fmt.Sprintf("j%02d", n), "a", "/x")
	}
	b.eventually("the last one", func() bool { return followed(v, "j19") == jobs.Queued })
	v.mu.RLock()
	if v.events.bytes > 2000 || len(v.events.recent) >= 20 || len(v.events.recent) == 0 {
		t.Errorf("%d events of %d bytes", len(v.events.recent), v.events.bytes)
	}
	v.mu.RUnlock()
	want := make([]string, 20)
	for n := range want {
		want[n] = fmt.Sprintf("j%02d queued", n)
	}
	b.reads(f, want...)
}

// A stream that is followed anew, after its consumer was lost, tells nothing twice.
func TestEventsAreToldOnceThoughTheStreamIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	f := v.Follow(Filter{}, "", nil)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.reads(f, "j1 queued", "j1 running")
	ctx, cancel := context.WithCancel(t.Context())
	if err := v.followJobs(ctx, &turn{}, cancel); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.move(job, jobs.Succeed, seq)
	b.reads(f, "j1 success")
	b.nothing(f)
	if kept := len(v.events.recent); kept != 3 {
		t.Errorf("%d events are kept", kept)
	}
}

// What was in the files at a start was not received since.
func TestReceivedBytesAreCountedFromTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	b.move(job, jobs.Start, 0)
	b.eventually("the job", func() bool { _, known := v.Known("j1"); return known })
	chunk := b.log(job, "before\n", 0)
	b.eventually("the log", func() bool { return v.Counts().ReceivedBytes == 7 })
	stop() // it remembers how far it has read
	v, _ = b.run(time.Minute)
	if got := v.Counts(); got.ReceivedBytes != 0 || got.LogBytes != 7 {
		t.Errorf("after a start: %d received, %d in all", got.ReceivedBytes, got.LogBytes)
	}
	b.log(job, "after\n", chunk)
	b.eventually("the rest", func() bool { return v.Counts().LogBytes == 13 })
	b.eventually("its count", func() bool { return v.Counts().ReceivedBytes > 0 })
	if got := v.Counts().ReceivedBytes; got != 6 {
		t.Errorf("%d received", got)
	}
}

// An API that is still reading knows no more of such a reader.
func TestAReaderOnTrustOfAnAPIThatStarts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	reader := v.FollowOnTrust(Filter{}, "", at(9))
	m := &bus.JobMessage{Job: jobs.Job{ID: "j1", Host: "a", State: jobs.Queued}, Seq: 1, Birth: true, Made: time.Unix(1_800_000_000, 0)}
	v.mu.Lock()
	v.reads(m.Made)
	v.takeLocked(m)
	v.happened(v.jobs["j1"], 1, &m.Job, 1)
	v.mu.Unlock()
	b.nothing(reader)
	v.caughtUp(partJobs, &turn{})
	b.reads(reader, "j1 queued")
}

func TestEventIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]EventID{
		"0": {}, "4711": {Seq: 4711}, "4711-18c3f2a9b7d0e1f2": {4711, 0x18c3f2a9b7d0e1f2}, "18446744073709551615-1": {1<<64 - 1, 1},
	} {
		if got, ok := ParseEventID(text); !ok || got != want || got.String() != text {
			t.Errorf("%s is %+v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "-1", "1-", "1--1", "1-0", "1-g", "1-1-1", "1-+5", "1-05", "1-A", "01", "+1", "1.5", "1 ", "18446744073709551616", "1-8000000000000000"} {
		if got, ok := ParseEventID(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// at is the id of an event that does not say of which stream it is, as those of earlier releases.
func at(seq uint64) *EventID { return &EventID{Seq: seq} }
