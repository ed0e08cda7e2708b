package retention

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

// bundle is a bus, and the APIs on it.
type bundle struct {
	t      testing.TB
	bus    *bus.Bus
	server *embedded.Server
}

func setup(t testing.TB, limits bus.Limits) *bundle {
	t.Helper()
	b, server := bustest.NewServerWith(t, limits)
	return &bundle{t: t, bus: b, server: server}
}

// api is what one API has for its keeper.
type api struct {
	*Keeper
	t    testing.TB
	view *view.View
	dir  string
}

// api starts one that keeps everything, until the test sets what it keeps.
func (b *bundle) api() *api {
	b.t.Helper()
	dir := b.t.TempDir()
	logs, err := logfile.Open(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	v := view.New(b.bus, logs, filepath.Join(dir, "cursor"), time.Minute, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done; _ = logs.Close() })
	v.AwaitCaughtUp(b.t.Context())
	k := New(Config{Bus: b.bus, View: v, Logs: logs, Log: slog.New(slog.DiscardHandler)})
	k.grace = 0
	return &api{Keeper: k, t: b.t, view: v, dir: dir}
}

// born gives birth to a job, with so many bytes in each of its states.
func (b *bundle) born(id string, bytes int) *jobs.Job {
	b.t.Helper()
	job := &jobs.Job{
		ID: id, Action: jobs.Create, State: jobs.Queued, Host: "a", CreatedAt: time.Now().UTC().Truncate(time.Second),
		Placement: strings.Repeat("x", bytes), Warnings: []string{},
	}
	if _, err := b.bus.Submit(b.t.Context(), &bus.Birth{Job: *job}); err != nil {
		b.t.Fatal(err)
	}
	return job
}

// run claims the job and writes a log of so many bytes.
func (b *bundle) run(job *jobs.Job, log int) (seq uint64) {
	b.t.Helper()
	if err := job.Move(jobs.Start, time.Now()); err != nil {
		b.t.Fatal(err)
	}
	seq, err := b.bus.PublishStatus(b.t.Context(), job, 0)
	if err == nil && log > 0 {
		_, err = b.bus.PublishLog(b.t.Context(), &bus.Chunk{Host: "a", Job: job.ID, Text: []byte(strings.Repeat("l", log))}, 0)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	job.LogBytes = int64(log)
	return seq
}

// end ends the job, which leaves a file of so many bytes; 0: none.
func (b *bundle) end(job *jobs.Job, last uint64, kept int) {
	b.t.Helper()
	if kept > 0 {
		_, err := b.bus.PutKept(b.t.Context(), "a", job.ID, bus.NewKeptToken(), strings.NewReader(strings.Repeat("k", kept)), int64(kept))
		if err == nil {
			err = b.bus.PutKeptList(b.t.Context(), "a", job.ID, &bus.KeptList{})
		}
		if err != nil {
			b.t.Fatal(err)
		}
		job.Kept = &jobs.Kept{Files: 1, Bytes: int64(kept)}
	}
	if err := job.Move(jobs.Succeed, time.Now()); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.bus.PublishStatus(b.t.Context(), job, last); err != nil {
		b.t.Fatal(err)
	}
}

// ended is a whole job.
func (b *bundle) ended(id string) {
	b.t.Helper()
	job := b.born(id, 10)
	b.end(job, b.run(job, 10), 10)
}

func (b *bundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("never: %s", what)
}

// await waits until the API shows so many jobs as ended.
func (b *bundle) await(a *api, count int) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%d jobs have ended", count), func() bool { return len(a.ended()) == count })
}

// ended are the ids of those that have ended, the oldest end first.
func (a *api) ended() (ids []string) {
	list, _, _ := a.view.Ended(1000)
	for i := range list {
		ids = append(ids, list[i].Job.ID)
	}
	return ids
}

func (a *api) letGoOrFail() {
	a.t.Helper()
	if err := a.LetGo(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

func (a *api) hasFile(id string) bool {
	_, err := os.Stat(filepath.Join(a.dir, id+".log"))
	return !errors.Is(err, fs.ErrNotExist)
}

// traces are what there is of a job on the bus, and with the API.
func (b *bundle) traces(a *api, id string) (found []string) {
	b.t.Helper()
	ctx := b.t.Context()
	note := func(what string, err error) {
		switch {
		case err == nil:
			found = append(found, what)
		case !errors.Is(err, bus.ErrNotFound) && !errors.Is(err, view.ErrUnknown):
			b.t.Errorf("%s of %s: %v", what, id, err)
		}
	}
	_, _, err := b.bus.Birth(ctx, "a", id)
	note("birth", err)
	_, err = b.bus.LastStatus(ctx, "a", id)
	note("status", err)
	_, err = b.bus.LastChunk(ctx, "a", id)
	note("log", err)
	_, err = b.bus.KeptList(ctx, "a", id)
	note("kept", err)
	_, err = a.view.Job(ctx, id)
	note("view", err)
	if a.hasFile(id) {
		found = append(found, "file")
	}
	return found
}

var everything = []string{"birth", "status", "log", "kept", "view", "file"}

func TestJobsBeyondTheNumberGo(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	queued, running := b.born("queued", 10), b.born("running", 10)
	b.run(running, 10)
	// They end in another order than they were born.
	first, second := b.born("first", 10), b.born("second", 10)
	b.end(second, b.run(second, 10), 10)
	b.end(first, b.run(first, 10), 10)
	b.ended("third")
	b.await(a, 3)
	a.config.Jobs = 2
	a.letGoOrFail()
	if got := a.ended(); !slices.Equal(got, []string{"first", "third"}) {
		t.Errorf("left are %q", got)
	}
	if got := b.traces(a, "second"); len(got) > 0 {
		t.Errorf("of the one let go there is %q", got)
	}
	for _, id := range []string{"first", "third"} {
		if got := b.traces(a, id); !slices.Equal(got, everything) {
			t.Errorf("%s has %q", id, got)
		}
	}
	if got := b.traces(a, queued.ID); !slices.Equal(got, []string{"birth", "view"}) {
		t.Errorf("the queued one has %q", got)
	}
	if got := b.traces(a, running.ID); !slices.Equal(got, []string{"birth", "status", "log", "view", "file"}) {
		t.Errorf("the running one has %q", got)
	}
	if got := a.view.Counts().LetGo; got != 1 {
		t.Errorf("%d are counted", got)
	}
}

func TestJobsOfAnAgeGo(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	old := b.born("waits", 10)
	b.ended("old")
	b.ended("young")
	b.await(a, 2)
	list, _, _ := a.view.Ended(2)
	a.config.Age = time.Hour
	at := func(age time.Duration) { a.busNow = func() time.Time { return list[0].At.Add(age) } }
	at(time.Hour)
	a.letGoOrFail()
	if got := a.ended(); len(got) != 2 {
		t.Errorf("left are %q", got)
	}
	at(time.Hour + 1)
	a.letGoOrFail()
	if got := a.ended(); !slices.Equal(got, []string{"young"}) {
		t.Errorf("an hour after the first end there are %q", got)
	}
	at(1000 * time.Hour)
	a.letGoOrFail()
	if got := a.ended(); len(got) > 0 {
		t.Errorf("after all that time there are %q", got)
	}
	if got := b.traces(a, old.ID); !slices.Equal(got, []string{"birth", "view"}) {
		t.Errorf("the queued one has %q", got)
	}
}

// The clock of an API may be a day off: by it no job is old, and no horizon lies ahead.
func TestTheClockOfAnAPIIsSet(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, bustest.Limits())
			a := b.api()
			for _, id := range []string{"expired", "within", "last"} {
				b.ended(id)
			}
			b.await(a, 3)
			list, _, _ := a.view.Ended(3)
			passed := time.Duration(0)
			a.config.Age, a.grace = time.Hour, grace
			a.busNow = func() time.Time { return list[0].At.Add(time.Hour + 1) }
			a.now = func() time.Time { return a.busNow().Add(by) }
			a.since = func(t time.Time) time.Duration { return time.Since(t) + passed }
			left := func(want ...string) {
				t.Helper()
				a.letGoOrFail()
				if got := a.ended(); !slices.Equal(got, want) {
					t.Errorf("after %s there are %q", passed, got)
				}
				if at, err := b.bus.Horizon(t.Context()); err != nil || len(want) < 3 && !at.Equal(list[2-len(want)].At) {
					t.Errorf("after %s the horizon is at %s, %v", passed, at, err)
				}
			}
			a.config.Jobs = 1
			left("expired", "within", "last") // in their first minute
			a.config.Jobs, passed = 0, grace
			left("within", "last")
			left("within", "last")
			a.config.Jobs = 1
			left("last")
			left("last")
			a.busNow = func() time.Time { return time.Time{} } // it is not known yet
			left("last")
		})
	}
}

// Who waits for the end of a job sees it, however many others there are.
func TestAJobStaysForAMomentAfterItsEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	b.ended("one")
	b.ended("two")
	b.await(a, 2)
	a.config.Jobs, a.grace = 1, grace
	a.letGoOrFail()
	if got := a.ended(); len(got) != 2 {
		t.Errorf("left are %q", got)
	}
	list, _, _ := a.view.Ended(1)
	// Also where the horizon says so: a clock that was ahead has moved it.
	if err := b.bus.MoveHorizon(t.Context(), list[0].At); err != nil {
		t.Fatal(err)
	}
	a.letGoOrFail()
	if got := a.ended(); len(got) != 2 {
		t.Errorf("behind the horizon are %q", got)
	}
	a.since = func(t time.Time) time.Duration { return time.Since(t) + grace }
	a.letGoOrFail()
	if got := a.ended(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("a minute later there are %q", got)
	}
}

// A horizon that lies ahead, from when the clock of the bus was, would have every job go until then.
// What passes while a machine is suspended is not known to have passed before the bus is asked again.
func TestAHorizonThatOnlySeemsToLieAheadStays(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	b.ended("one")
	b.await(a, 1)
	horizon := time.Now().Add(-time.Minute)
	if err := b.bus.MoveHorizon(t.Context(), horizon); err != nil {
		t.Fatal(err)
	}
	calls := 0
	a.busNow = func() time.Time {
		if calls++; calls <= 2 { // it is looked again behind the second
			return b.bus.Now().Add(-10 * time.Minute)
		}
		return b.bus.Now()
	}
	a.letGoOrFail()
	if got, err := b.bus.Horizon(t.Context()); err != nil || !got.Equal(horizon) {
		t.Errorf("the horizon is %s, %v", got, err)
	}
}

func TestAHorizonThatLiesAheadIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	b.ended("one")
	b.ended("two")
	b.await(a, 2)
	if err := b.bus.MoveHorizon(t.Context(), time.Now().Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	a.letGoOrFail()
	if got := a.ended(); len(got) != 2 {
		t.Errorf("left are %q", got)
	}
	// It is not believed later either.
	a.busNow = func() time.Time { return time.Now().Add(48 * time.Hour) }
	a.letGoOrFail()
	if got := a.ended(); len(got) != 2 {
		t.Errorf("two days later there are %q", got)
	}
	a.config.Jobs = 1
	a.letGoOrFail()
	if got := a.ended(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("beyond the number there are %q", got)
	}
}

func TestAStreamThatFillsUp(t *testing.T) {
	t.Parallel()
	for stream, c := range map[string]struct {
		limits              func(*bus.Limits)
		state, log, kept, n int
	}{
		"jobs":    {func(l *bus.Limits) { l.JobsBytes = 1 << 20 }, 6 << 10, 10, 0, 47},
		"logs":    {func(l *bus.Limits) { l.LogsBytes = 1 << 20 }, 10, 90 << 10, 0, 10},
		"objects": {func(l *bus.Limits) { l.ObjectsBytes = 2 << 20 }, 10, 10, 90 << 10, 10},
	} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			limits := bustest.Limits()
			c.limits(&limits)
			b := setup(t, limits)
			a := b.api()
			fill := func(from, to int) {
				for n := from; n < to; n++ {
					job := b.born(fmt.Sprintf("j%02d", n), c.state)
					b.end(job, b.run(job, c.log), c.kept)
				}
				b.await(a, to)
			}
			share := func() float64 {
				for _, s := range b.bus.StreamSizes(t.Context()) {
					if s.Name == stream {
						return float64(s.Bytes) / float64(s.LimitBytes)
					}
				}
				t.Fatal("no size")
				return 0
			}
			of := 1.0
			if stream == "objects" {
				of = 0.5 // kept files have half of it
			}
			few := c.n * 7 / 10
			fill(0, few)
			a.letGoOrFail()
			if got := a.ended(); len(got) != few {
				t.Errorf("at %.2f there are %q", share(), got)
			}
			fill(few, c.n)
			if share() < 0.8*of {
				t.Fatalf("filled to %.2f", share())
			}
			a.letGoOrFail()
			left := a.ended()
			if share() > 0.71*of || share() < 0.4*of {
				t.Errorf("freed to %.2f, with %q", share(), left)
			}
			if left[len(left)-1] != fmt.Sprintf("j%02d", c.n-1) || left[0] != fmt.Sprintf("j%02d", c.n-len(left)) {
				t.Errorf("left are %q", left)
			}
		})
	}
}

// Jobs under way that fill a stream are no reason to let go what frees nothing.
func TestWhatIsNotInTheWayStays(t *testing.T) {
	t.Parallel()
	limits := bustest.Limits()
	limits.ObjectsBytes = 1 << 20
	b := setup(t, limits)
	a := b.api()
	b.ended("old")
	b.await(a, 1)
	if err := b.bus.PutObject(t.Context(), "a", "bundle", make([]byte, 900<<10)); err != nil {
		t.Fatal(err)
	}
	a.letGoOrFail()
	if got := a.ended(); len(got) != 1 {
		t.Errorf("left are %q", got)
	}
}

// Another API lets go the same jobs, whatever its own settings are, and finds on the bus that nothing is left to do.
func TestEveryAPIForgets(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	one, other := b.api(), b.api()
	for _, id := range []string{"a1", "a2", "a3", "a4"} {
		b.ended(id)
	}
	b.await(one, 4)
	b.await(other, 4)
	other.letGoOrFail()
	one.config.Jobs = 1
	one.letGoOrFail()
	other.letGoOrFail()
	if got := other.ended(); !slices.Equal(got, []string{"a4"}) {
		t.Errorf("the other has %q", got)
	}
	for _, id := range []string{"a1", "a2", "a3"} {
		if got := b.traces(other, id); len(got) > 0 {
			t.Errorf("of %s the other has %q", id, got)
		}
	}
	if got := b.traces(other, "a4"); !slices.Equal(got, everything) {
		t.Errorf("of the last one there is %q", got)
	}
}

// A bus that has lost what it had is no reason to forget it, nor to remove a log.
func TestALostBusLetsNothingGo(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	for _, id := range []string{"a1", "a2", "a3"} {
		b.ended(id)
	}
	b.await(a, 3)
	a.config.Jobs = 2
	a.letGoOrFail()
	bustest.Lose(t, b.server)
	for _, sweep := range []func(context.Context) error{a.LetGo, a.SweepFiles} {
		if err := sweep(t.Context()); err != nil && !errors.Is(err, bus.ErrUnavailable) {
			t.Error(err)
		}
	}
	a.now = func() time.Time { return time.Now().Add(100 * strayAge) } // of which the file is young
	if err := a.SweepFiles(t.Context()); err != nil {
		t.Error(err)
	}
	if got := a.ended(); !slices.Equal(got, []string{"a2", "a3"}) || !a.hasFile("a2") || !a.hasFile("a3") {
		t.Errorf("left are %q", got)
	}
}

// While a bus that has lost jobs is told them again nothing is let go: what goes in between would come back without its end.
func TestNothingGoesBeforeALossIsMadeGood(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	// It makes no streams again: the test does.
	a := (&bundle{t: t, bus: bustest.Connect(t, b.server, "/api"), server: b.server}).api()
	b.ended("a1")
	b.ended("a2")
	b.await(a, 2)
	bustest.Lose(t, b.server)
	small := bustest.Limits()
	small.JobsBytes = 1 << 10
	if err := b.bus.EnsureStreams(t.Context(), small); err != nil { // in which the jobs find no room
		t.Fatal(err)
	}
	b.eventually("the loss is noticed", func() bool { return a.view.Writable() != nil })
	a.config.Jobs, a.every = 1, time.Millisecond
	a.busNow = func() time.Time {
		if err := a.view.Writable(); err != nil {
			t.Error("a job is let go though", err)
		}
		return time.Now()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := b.bus.EnsureStreams(t.Context(), bustest.Limits()); err != nil {
		t.Fatal(err)
	}
	b.eventually("a job goes", func() bool { return slices.Equal(a.ended(), []string{"a2"}) })
}

// An API that ended while it let go a job, after its birth had gone, goes on when it is back.
func TestWhatACrashHasLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	job := &jobs.Job{ID: "half", Action: jobs.Create, State: jobs.Queued, Host: "a", CreatedAt: time.Now(), Warnings: []string{}}
	b.end(job, b.run(job, 10), 10) // it has no birth
	list := func(a *api) view.Ended {
		b.await(a, 1)
		ended, _, _ := a.view.Ended(1)
		return ended[0]
	}
	a := b.api()
	half := list(a)
	if half.Job.State != jobs.Success {
		t.Errorf("it is shown as %s", half.Job.State)
	}
	if err := b.bus.MoveHorizon(t.Context(), half.At); err != nil {
		t.Fatal(err)
	}
	a.letGoOrFail()
	if got := b.traces(a, "half"); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

func TestLogsOfNoJob(t *testing.T) {
	t.Parallel()
	b := setup(t, bustest.Limits())
	a := b.api()
	b.ended("known")
	b.await(a, 1)
	a.config.Age = time.Hour
	for name, age := range map[string]time.Duration{"known.log": 2 * time.Hour, "old.log": 2 * time.Hour, "young.log": time.Minute, "cursor": 2 * time.Hour, "no-log.txt": 2 * time.Hour} {
		file := filepath.Join(a.dir, name)
		if name != "known.log" {
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.SweepFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"cursor", "known.log", "no-log.txt", "young.log"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestNoneThatStaysIsBehindTheHorizon(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	k := &Keeper{grace: grace, now: func() time.Time { return now.Add(24 * time.Hour) }, busNow: func() time.Time { return now }}
	for name, test := range map[string]struct {
		last view.Ended
		want time.Time
	}{
		"in order":               {view.Ended{At: now.Add(-2 * time.Hour), Next: now.Add(-time.Hour)}, now.Add(-2 * time.Hour)},
		"the last":               {view.Ended{At: now.Add(-2 * time.Hour)}, now.Add(-2 * time.Hour)},
		"the clock was set back": {view.Ended{At: now.Add(24 * time.Hour), Next: now.Add(-time.Hour)}, now.Add(-time.Hour - 1)},
		"the clock is ahead":     {view.Ended{At: now.Add(24 * time.Hour)}, now.Add(-grace)},
		"at the same time":       {view.Ended{At: now.Add(-time.Hour), Next: now.Add(-time.Hour)}, now.Add(-time.Hour - 1)},
	} {
		if got := k.horizonBehind(&test.last); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
