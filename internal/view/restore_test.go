package view

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/bus/embedded/embeddedtest"
	"netlab-runner/internal/jobs"
)

// A bus that has lost its store is told all that the view knows: a view that begins anew knows the same.
func TestABusThatHasLostItsStore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	ended := b.born("ended", "a", "/ended")
	seq := b.move(ended, jobs.Start, 0)
	b.log(ended, "one\ntwo\n", 0)
	if _, err := b.bus.RequestCancel(t.Context(), "a", "ended"); err != nil { // of which its worker did not hear in time
		t.Fatal(err)
	}
	b.move(ended, jobs.Succeed, seq)
	runs := b.born("runs", "a", "/runs")
	b.move(runs, jobs.Start, 0)
	queued := &bus.Birth{
		Job:      jobs.Job{ID: "queued", Action: jobs.Up, State: jobs.Queued, Host: "b", Workdir: "/queued", CreatedAt: time.Unix(1_800_000_000, 0).UTC()},
		Topology: "nodes: [ a ]\n",
	}
	if _, err := b.bus.Submit(t.Context(), queued); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.RequestCancel(t.Context(), "b", "queued"); err != nil {
		t.Fatal(err)
	}
	all := []string{"ended", "runs", "queued"}
	shown := func(v *View) (list []jobs.Job) {
		for _, id := range all {
			job, _ := v.Known(id)
			list = append(list, job)
		}
		return list
	}
	b.eventually("everything is known", func() bool {
		list := shown(v)
		return list[0].State == jobs.Success && list[1].State == jobs.Running && list[2].CancelRequested
	})
	before := shown(v)
	follower := v.Follow(Filter{}, "", nil)
	newest := func() map[string]jobs.State {
		states := map[string]jobs.State{}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			events, err := follower.Next(ctx)
			cancel()
			if err != nil {
				return states
			}
			for _, e := range events {
				states[e.Job.ID] = e.Job.State
			}
		}
	}
	newest()

	bustest.Lose(t, b.server)
	b.eventually("it is noticed", func() bool {
		if got := shown(v); !cmp.Equal(got, before) {
			t.Fatalf("meanwhile the jobs are shown otherwise:\n%s", cmp.Diff(before, got))
		}
		_, err := b.bus.LastStatus(t.Context(), "a", "runs")
		return err == nil
	})
	b.eventually("it is made good", func() bool { return v.Writable() == nil && len(v.NotReady()) == 0 })
	if got := shown(v); !cmp.Equal(got, before) {
		t.Errorf("afterwards the jobs are shown otherwise:\n%s", cmp.Diff(before, got))
	}
	// What its worker has published under a sequence of the new stream goes on, and a follower hears of it.
	last, err := b.bus.LastStatus(t.Context(), "a", "runs")
	if err != nil || last.Source != "/test" {
		t.Fatal(last, err)
	}
	b.move(runs, jobs.Fail, last.Seq)
	b.eventually("the job that ran has ended", func() bool { return followed(v, "runs") == jobs.Failed })
	if got := newest(); got["runs"] != jobs.Failed || got["queued"] != jobs.Queued {
		t.Errorf("the follower has heard %v", got)
	}
	birth, _, err := b.bus.Birth(t.Context(), "b", "queued")
	if err != nil || birth.Topology != queued.Topology {
		t.Errorf("the birth of a queued job is %+v, %v", birth, err)
	}
	if host, err := b.bus.PlaceOf(t.Context(), "/runs"); err != nil || host != "a" {
		t.Errorf("the directory of a job is on %q, %v", host, err)
	}
	b.eventually("the log is there again", func() bool {
		chunk, err := b.bus.LastChunk(t.Context(), "a", "ended")
		return err == nil && chunk.End() == 8
	})

	want := shown(v)
	page, _, _ := v.Page(Filter{}, 10, "")
	stop()
	b.dir = t.TempDir() // another API, without any file
	again, _ := b.run(time.Minute)
	b.eventually("another view knows the log", func() bool { return b.text(again, "ended") == "one\ntwo\n" })
	for i, job := range shown(again) {
		job.LogPath, want[i].LogPath = "", ""
		if !cmp.Equal(job, want[i]) {
			t.Errorf("another view shows %s otherwise:\n%s", all[i], cmp.Diff(want[i], job))
		}
	}
	same, _, _ := again.Page(Filter{}, 10, "")
	for i := range page {
		if page[i].ID != same[i].ID {
			t.Errorf("another view has %s in the place of %s", same[i].ID, page[i].ID)
		}
	}
}

// A job is known with all that its host may need from the moment of its birth on, and not only once the view has read it.
func TestAJobIsKnownInFullFromItsBirth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	birth := &bus.Birth{Job: jobs.Job{ID: "j1", Action: jobs.Up, State: jobs.Queued, Host: "a", Workdir: "/x"}, Topology: "nodes: [ a ]\n"}
	seq, err := b.bus.Submit(t.Context(), birth)
	if err != nil {
		t.Fatal(err)
	}
	v.Add(birth, seq)
	bustest.Lose(t, b.server)
	if err := b.bus.MendStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.restoreJobs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := b.bus.Birth(t.Context(), "a", "j1"); err != nil || got.Topology != birth.Topology {
		t.Errorf("%+v, %v", got, err)
	}
}

// A bus that has lost its store cannot be told for a while: it is tried again until it knows all.
func TestABusThatCannotBeToldAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told lines
	b.logger, b.restorePatience = slog.New(slog.NewTextHandler(&told, nil)), 500*time.Millisecond
	v, _ := b.run(time.Minute)
	b.born("j1", "a", "/x")
	b.eventually("it is known", func() bool { return followed(v, "j1") == jobs.Queued })
	limits := bustest.Limits()
	limits.JobsBytes = 100 // there is no room in a stream that is made anew
	if err := b.bus.EnsureStreams(t.Context(), limits); err == nil {
		t.Fatal("a stream that has more than that is limited")
	}
	bustest.Lose(t, b.server)
	b.eventually("it was tried again", func() bool { return told.count("is not made good yet") > 1 })
	if v.Writable() == nil {
		t.Error("jobs are taken meanwhile")
	}
	if err := b.bus.EnsureStreams(t.Context(), bustest.Limits()); err != nil {
		t.Fatal(err)
	}
	b.eventually("jobs are taken", func() bool { return v.Writable() == nil })
	if _, _, err := b.bus.Birth(t.Context(), "a", "j1"); err != nil {
		t.Error(err)
	}
}

// A job that was under way at the loss ends, and its worker has not noticed that.
func TestALogOfAJobThatEndsAfterTheLoss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	at := func(id string, state jobs.State, seq uint64) {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: state, LogBytes: 8}, Seq: seq})
	}
	at("before", jobs.Success, 1)
	at("after", jobs.Running, 2) // the newer one, looked at first
	for _, id := range []string{"before", "after"} {
		if err := v.logs.Get(id).Append(0, []byte("one\ntwo\n")); err != nil {
			t.Fatal(err)
		}
	}
	restored := make(chan struct{})
	go func() { defer close(restored); v.restoreLogs(t.Context()) }()
	there := func(id string) func() bool {
		return func() bool {
			chunk, err := b.bus.LastChunk(t.Context(), "a", id)
			return err == nil && chunk.End() == 8
		}
	}
	b.eventually("the log of the one that has ended is there again", there("before"))
	at("after", jobs.Success, 3)
	b.eventually("the log of the other one is there too", there("after"))
	<-restored
}

// A stream that is read anew has a later job of an id, and another one only when it was read to its end.
func TestWhatALossHasMadeOfJobs(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	born := func(id string, created int64, seq uint64) {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: jobs.Queued, User: fmt.Sprint(created), CreatedAt: time.Unix(created, 0)}, Seq: seq, Birth: true})
	}
	born("late", 1, 100)
	born("again", 2, 101)
	born("same", 3, 102)
	v.beginReplay()
	born("same", 3, 1)
	born("again", 900, 2) // let go meanwhile
	v.mu.Lock()
	v.endReplay()
	v.mu.Unlock()
	born("late", 1, 3)
	page, _, _ := v.Page(Filter{}, 10, "")
	var got []string
	for _, job := range page {
		got = append(got, job.ID+" of "+job.Job().User)
	}
	if diff := cmp.Diff([]string{"late of 1", "again of 900", "same of 3"}, got); diff != "" {
		t.Error(diff)
	}
}

// Jobs that were not read again, because they are let go just now say, are listed all the same, each once. A page behind one that is
// there no more is refused: where it was in the stream before says nothing.
func TestJobsThatAreNotReadAgain(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	read := func(id string, made int64, seq uint64) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.reads(time.Unix(made, 0))
		v.takeLocked(&bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: jobs.Queued}, Seq: seq, Birth: true})
	}
	for i := range uint64(6) {
		read(fmt.Sprint("j", i), 1, 100+i)
	}
	page, _, _ := v.Page(Filter{}, 6, "")
	v.beginReplay()
	read("j3", 2, 1)
	v.mu.Lock()
	v.endReplay()
	v.forget(v.jobs["j2"])
	v.mu.Unlock()
	if diff := cmp.Diff([]string{"j3", "j5", "j4", "j1", "j0"}, pages(t, v, Filter{})); diff != "" {
		t.Error(diff)
	}
	for _, job := range page {
		_, _, err := v.Page(Filter{}, 6, job.Cursor())
		if refused := errors.Is(err, ErrCursor); refused != (job.ID == "j2") {
			t.Errorf("a page behind %s: %v", job.ID, err)
		}
	}
}

// A store that has lost its newest messages was made when it was made: a page goes on behind its job there too.
func TestAPageBehindALossOfTheNewest(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	born := func(n int, seq uint64) {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: fmt.Sprint("j", n), Host: "a", State: jobs.Queued}, Seq: seq, Birth: true})
	}
	for n := range 10 {
		born(n, uint64(n)+1)
	}
	_, next, _ := v.Page(Filter{}, 2, "")
	v.beginReplay()
	for n := range 10 {
		born(n, uint64(n+max(n-4, 1))) // those from the sixth on were lost, and come back with a state each between them
	}
	v.mu.Lock()
	v.endReplay()
	v.mu.Unlock()
	if diff := cmp.Diff([]string{"j7", "j6", "j5"}, idsBehind(v, next)); diff != "" {
		t.Error(diff)
	}
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// An id of before a loss says nothing of what came since, whether the new stream has come so far or not: whoever comes with one is told how
// every job is, once, also by an API that knows nothing of the loss.
func TestAnIDOfBeforeALoss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.eventually("it is told that the job runs", func() bool { return v.EventsUpTo() == seq })
	f := v.Follow(Filter{}, "", nil)
	b.reads(f, "j1 running")
	low := f.After()
	for range 5 {
		seq = b.move(job, jobs.Progress, seq)
	}
	b.eventually("all is told", func() bool { return v.EventsUpTo() == seq })
	high := EventID{seq, low.Made}
	b.move(job, jobs.Succeed, seq)
	b.eventually("the job has ended", func() bool { return followed(v, "j1") == jobs.Success })
	bustest.Lose(t, b.server)
	b.eventually("the loss is noticed", func() bool { return v.Writable() != nil })
	b.eventually("the job is known again", func() bool { return v.Writable() == nil && v.CaughtUp() })
	if upTo := v.EventsUpTo(); upTo < low.Seq || upTo >= high.Seq {
		t.Fatalf("the new stream is at %d, want %d to %d", upTo, low.Seq, high.Seq)
	}
	var now EventID
	for _, view := range []*View{v, b.replica("started since")} {
		for _, id := range []string{"", "j1"} {
			for _, follower := range []*Follower{view.Follow(Filter{}, id, &low), view.Follow(Filter{}, id, &high), view.FollowOnTrust(Filter{}, id, &high)} {
				b.reads(follower, "j1 success")
				b.nothing(follower)
				now = follower.After()
			}
		}
		if again := view.Follow(Filter{}, "j1", &now); !again.Over() {
			t.Errorf("who has %s is told it again", now)
		}
		b.nothing(view.Follow(Filter{}, "", &now))
	}
	b.born("late", "a", "/y")
	b.reads(v.Follow(Filter{}, "", &now), "late queued")
}

// A stream that has lost its newest messages numbers others as it did those: to everybody it is another one from then on.
func TestAnIDThatComesAgain(t *testing.T) {
	t.Parallel()
	limits := bustest.Limits()
	s := embeddedtest.NewStore(t, func(s *embedded.Server) {
		b := bustest.Connect(t, s, "/test")
		defer b.Close()
		if err := b.EnsureStreams(t.Context(), limits); err != nil {
			t.Fatal(err)
		}
	})
	onBus, err := bus.Connect(bus.Config{URL: s.URL(), Creds: s.CredsFile, Source: "/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(onBus.Close)
	if err := onBus.EnsureStreams(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	b := setupOn(t, onBus, s.Server)
	v, _ := b.run(time.Minute)
	f := v.Follow(Filter{}, "", nil)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.reads(f, "j1 queued", "j1 running")
	low, high := f.After(), EventID{seq + 5, f.After().Made}
	for range 5 {
		seq = b.move(job, jobs.Progress, seq)
	}
	b.move(job, jobs.Succeed, seq)
	b.eventually("the job has ended", func() bool { return followed(v, "j1") == jobs.Success })
	s.TurnBack()
	b.eventually("the stream is another one", func() bool {
		return v.Follow(Filter{}, "", nil).After().Made > low.Made && v.Writable() == nil && v.CaughtUp()
	})
	for _, view := range []*View{v, b.replica("started since")} {
		for _, after := range []EventID{low, high} {
			f := view.Follow(Filter{}, "", &after)
			b.reads(f, "j1 success")
			b.nothing(f)
		}
	}
}

// Where that cannot be told to everybody, because the bus takes no change, it is told to who follows this API.
func TestALossThatCannotBeTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.bus = bustest.Connect(t, b.server, "/test") // which has made no stream, and makes none again
	v := b.unfed()
	v.caughtUp(partJobs, &turn{})
	f := v.Follow(Filter{}, "", nil)
	made := time.Now()
	v.take(&bus.JobMessage{Job: jobs.Job{ID: "j1", Host: "a", State: jobs.Queued}, Seq: 1, Birth: true, Made: made})
	v.mu.Lock()
	v.reads(made)
	v.happened(v.jobs["j1"], 1, &v.jobs["j1"].open.job, 1)
	v.mu.Unlock()
	b.reads(f, "j1 queued")
	before := f.After()
	bustest.Lose(t, b.server)
	v.restorePatience = time.Millisecond
	if err := v.mend(t.Context(), partJobs, fmt.Errorf("%w: all", bus.ErrLost)); err == nil {
		t.Error("a job is restored to nowhere")
	}
	b.nothing(v.Follow(Filter{}, "", &before))
	if err := v.mend(t.Context(), partJobs, fmt.Errorf("%w: one", bus.ErrLostNewest)); err == nil {
		t.Error("a job is restored to nowhere")
	}
	b.reads(v.Follow(Filter{}, "", &before), "j1 queued")
}

// fed is a view to which the test brings the messages.
type fed struct {
	*bundle
	view            *View
	made, createdAt time.Time
}

func newFed(t *testing.T) *fed {
	t.Helper()
	b := setup(t)
	f := &fed{bundle: b, view: b.unfed(), made: time.Unix(1_800_000_000, 0)}
	f.caughtUp()
	return f
}

// fedARun has heard of a job x that it runs, in the event with the id.
func fedARun(t *testing.T) (f *fed, id *EventID) {
	t.Helper()
	f = newFed(t)
	f.hears("x", jobs.Queued, 1, 0)
	f.hears("x", jobs.Running, 2, 0)
	return f, &EventID{2, f.made.UnixNano()}
}

func (f *fed) hears(id string, state jobs.State, seq uint64, logBytes int64) {
	m := &bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: state, LogBytes: logBytes, CreatedAt: f.createdAt}, Seq: seq, Birth: state == jobs.Queued, Made: f.made}
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	f.view.reads(m.Made)
	f.view.takeLocked(m)
	f.view.happened(f.view.jobs[id], seq, &m.Job, 1)
}

// writes brings the log of a job.
func (f *fed) writes(id string) {
	f.t.Helper()
	if err := f.view.append(&bus.Chunk{Host: "a", Job: id, Text: []byte("text\n")}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fed) caughtUp() { f.view.caughtUp(partJobs, &turn{}) }

// loses begins to read a stream that was made later.
func (f *fed) loses() {
	f.view.beginReplay()
	f.made = f.made.Add(time.Hour)
}

func (f *fed) follow(id string, after *EventID) *Follower { return f.view.Follow(Filter{}, id, after) }

// While the stream is read anew nobody is told anything, and nothing is over. Then everybody is told how every job is.
func TestNothingIsToldWhileTheStreamIsReadAnew(t *testing.T) {
	t.Parallel()
	f, _ := fedARun(t)
	f.hears("z", jobs.Queued, 3, 0)
	f.hears("z", jobs.Running, 4, 0)
	f.hears("q", jobs.Queued, 5, 0)
	at := &EventID{5, f.made.UnixNano()}
	all, one := f.follow("", at), f.follow("x", at)
	f.nothing(all)
	f.nothing(one)
	f.loses()
	f.hears("x", jobs.Canceled, 6, 0)
	f.hears("z", jobs.Canceled, 7, 0)
	late, fresh, plain, over := f.follow("", at), f.follow("", nil), f.follow("", &EventID{Seq: 7}), f.follow("x", nil)
	trusted, higher := f.view.FollowOnTrust(Filter{}, "", at), f.follow("x", &EventID{9, at.Made})
	plainOnTrust := f.view.FollowOnTrust(Filter{}, "", &EventID{Seq: 9})
	ahead := f.follow("", &EventID{8, f.made.UnixNano()}) // another API was first to read all
	for _, follower := range []*Follower{all, one, late, fresh, plain, over, ahead, trusted, higher, plainOnTrust} {
		f.nothing(follower)
		if follower.Over() {
			t.Error("an end is over that was not told")
		}
	}
	f.hears("q", jobs.Queued, 1, 0) // births that nothing has come behind are read last
	f.hears("w", jobs.Queued, 8, 0)
	f.caughtUp()
	for _, follower := range []*Follower{all, late, plain, trusted} {
		f.reads(follower, "q queued", "x canceled", "z canceled", "w queued")
	}
	f.reads(fresh, "q queued", "w queued")
	f.reads(plainOnTrust, "q queued", "x canceled", "z canceled", "w queued")
	for _, follower := range []*Follower{one, over, higher} {
		f.reads(follower, "x canceled")
	}
	f.nothing(ahead)
	f.hears("w", jobs.Running, 9, 0)
	f.reads(ahead, "w running")
	if !f.follow("x", &EventID{6, f.made.UnixNano()}).Over() {
		t.Error("an end that was told is told again")
	}
	// A plain number may be of any stream.
	f.reads(f.follow("x", &EventID{Seq: 7}), "x canceled")
}

// An end that is read anew before its log is there is told when it is shown.
func TestAnEndThatIsReadAnewBeforeItsLog(t *testing.T) {
	t.Parallel()
	f, runs := fedARun(t)
	ended := 0
	f.view.Observe(func(job *jobs.Job) {
		if job.State.Terminal() {
			ended++
		}
	})
	all, one := f.follow("", runs), f.follow("x", runs)
	f.loses()
	f.hears("x", jobs.Success, 2, 5)
	f.hears("w", jobs.Queued, 3, 0)
	f.caughtUp()
	f.nothing(all)
	f.hears("v", jobs.Queued, 4, 0)
	f.hears("v", jobs.Canceled, 5, 0)
	f.nothing(all)
	f.nothing(one)
	f.writes("x")
	f.reads(all, "x success", "w queued", "v canceled")
	f.reads(one, "x success")
	if ended != 1 {
		t.Errorf("%d ends are counted, want that of v", ended)
	}
}

// So is one of a bus that has nothing else either.
func TestAJobOfABusThatHasNothing(t *testing.T) {
	t.Parallel()
	f, runs := fedARun(t)
	connected := f.follow("x", runs)
	f.hears("x", jobs.Canceled, 3, 0)
	f.loses()
	f.caughtUp()
	f.reads(connected, "x canceled")
}

// A stream that is followed once more without having lost anything has told what it had told.
func TestAStreamThatIsFollowedOnceMore(t *testing.T) {
	t.Parallel()
	f, _ := fedARun(t)
	f.hears("x", jobs.Success, 3, 5)
	f.caughtUp()
	if upTo := f.view.EventsUpTo(); upTo != 2 {
		t.Errorf("an end that is not shown is told up to %d", upTo)
	}
	f.reads(f.follow("x", &EventID{1, f.made.UnixNano()}), "x running")
}

// Ends that come later wait for their logs as ever, and keep nobody waiting for what happened before.
func TestLaterEndsDoNotKeepTheSilence(t *testing.T) {
	t.Parallel()
	f, runs := fedARun(t)
	all := f.follow("", runs)
	f.loses()
	f.hears("x", jobs.Success, 1, 5)
	f.hears("x", jobs.Queued, 2, 0)
	f.caughtUp()
	f.hears("y", jobs.Queued, 3, 0)
	f.hears("y", jobs.Success, 4, 5)
	f.nothing(all)
	f.writes("x")
	f.reads(all, "x success")
	f.nothing(all)
	f.writes("y")
	f.reads(all, "y success")
}

// An end that nobody waits for any more keeps nobody waiting.
func TestAnEndThatIsReadAnewOfAJobThatIsNoMore(t *testing.T) {
	t.Parallel()
	f, runs := fedARun(t)
	all := f.follow("", runs)
	f.loses()
	f.hears("x", jobs.Success, 1, 5)
	f.hears("x", jobs.Queued, 2, 0)
	f.caughtUp()
	f.nothing(all)
	f.createdAt = time.Unix(1_800_000_000, 0)
	f.hears("x", jobs.Queued, 3, 0) // its key has made another one
	f.reads(all, "x queued")
}

// A job that the bus has lost, and that could not be made known to it again, is told to who asks for it.
func TestAJobThatIsNotReadAgain(t *testing.T) {
	t.Parallel()
	f := newFed(t)
	f.hears("x", jobs.Queued, 1, 0)
	f.hears("x", jobs.Canceled, 2, 0)
	before := &EventID{2, f.made.UnixNano()}
	connected := f.follow("x", before)
	f.loses()
	f.hears("y", jobs.Queued, 5, 0)
	f.caughtUp()
	for _, follower := range []*Follower{connected, f.follow("x", nil), f.follow("x", before), f.follow("x", &EventID{})} {
		if follower.Over() {
			t.Error("an end is over that was not told")
		}
		f.reads(follower, "x canceled")
		if after := follower.After(); !f.follow("x", &after).Over() {
			t.Errorf("who has %s is told it again", after)
		}
	}
}
