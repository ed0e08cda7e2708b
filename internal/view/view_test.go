package view

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

const patience = 20 * time.Second

type bundle struct {
	t      *testing.T
	bus    *bus.Bus
	server *embedded.Server
	dir    string
	// logger and what follows are those of the views.
	logger                                   *slog.Logger
	fillDelay, fillPatience, restorePatience time.Duration
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b, server := bustest.NewServer(t)
	return setupOn(t, b, server)
}

func setupOn(t *testing.T, b *bus.Bus, server *embedded.Server) *bundle {
	t.Helper()
	return &bundle{t: t, bus: b, server: server, dir: t.TempDir(), logger: slog.New(slog.DiscardHandler), fillDelay: fillDelay, fillPatience: fillPatience, restorePatience: restorePatience}
}

// unfed is a view that does not follow the bus.
func (b *bundle) unfed() *View {
	b.t.Helper()
	logs, err := logfile.Open(filepath.Join(b.dir, "logs"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = logs.Close() })
	return New(b.bus, logs, filepath.Join(b.dir, "cursor"), time.Minute, b.logger)
}

// run starts a view and waits until it has caught up. stop ends it.
func (b *bundle) run(lease time.Duration) (v *View, stop func()) {
	b.t.Helper()
	logs, err := logfile.Open(filepath.Join(b.dir, "logs"))
	if err != nil {
		b.t.Fatal(err)
	}
	v = New(b.bus, logs, filepath.Join(b.dir, "cursor"), lease, b.logger)
	v.fillDelay, v.fillPatience, v.restorePatience = b.fillDelay, b.fillPatience, b.restorePatience
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Run(ctx)
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			_ = logs.Close()
		}
	}
	b.t.Cleanup(stop)
	b.eventually("caught up", v.CaughtUp)
	return v, stop
}

func (b *bundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("never: %s", what)
}

func (b *bundle) born(id, host, workdir string) *jobs.Job {
	b.t.Helper()
	job := &jobs.Job{ID: id, Action: jobs.Create, State: jobs.Queued, Host: host, Workdir: workdir, CreatedAt: time.Unix(1_800_000_000, 0).UTC(), Warnings: []string{}}
	if _, err := b.bus.Submit(b.t.Context(), &bus.Birth{Job: *job}); err != nil {
		b.t.Fatal(err)
	}
	return job
}

func (b *bundle) move(job *jobs.Job, e jobs.Event, last uint64) uint64 {
	b.t.Helper()
	if err := job.Move(e, time.Unix(1_800_000_001, 0)); err != nil {
		b.t.Fatal(err)
	}
	seq, err := b.bus.PublishStatus(b.t.Context(), job, last)
	if err != nil {
		b.t.Fatal(err)
	}
	return seq
}

func (b *bundle) log(job *jobs.Job, text string, last uint64) uint64 {
	b.t.Helper()
	seq, err := b.bus.PublishLog(b.t.Context(), &bus.Chunk{Host: job.Host, Job: job.ID, Offset: job.LogBytes, Text: []byte(text)}, last)
	if err != nil {
		b.t.Fatal(err)
	}
	job.LogBytes += int64(len(text))
	return seq
}

// logsRead waits until the view has read the logs up to a sequence, which is a moment after their files have it.
func (b *bundle) logsRead(v *View, seq uint64) {
	b.t.Helper()
	b.eventually("the log is read", func() bool {
		v.cursor.mu.Lock()
		defer v.cursor.mu.Unlock()
		return v.cursor.state.Seq == seq
	})
}

func (b *bundle) state(v *View, id string) jobs.State {
	b.t.Helper()
	job, err := v.Job(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return job.State
}

// followed is the state that the view has from following the bus, without asking it: what came before is there too.
func followed(v *View, id string) jobs.State {
	job, _ := v.Known(id)
	return job.State
}

func (b *bundle) text(v *View, id string) string {
	b.t.Helper()
	log, err := v.Log(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	text := make([]byte, log.Size())
	if n, err := log.ReadAt(text, 0); err != nil && n < len(text) {
		b.t.Fatal(err)
	}
	return string(text)
}

func TestTerminalStateIsShownOnlyWithTheWholeLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fillDelay = time.Minute // the rest comes by itself
	v, _ := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	chunk := b.log(job, "first\n", 0)

	// The state overtakes the log.
	job.LogBytes += 7
	b.move(job, jobs.Succeed, seq)
	probe := b.born("j2", "a", "/y")
	b.move(probe, jobs.Start, 0)
	b.eventually("the later job is running", func() bool { return followed(v, "j2") == jobs.Running })
	if got := b.state(v, "j1"); got != jobs.Running {
		t.Errorf("without its whole log the job is %s", got)
	}
	job.LogBytes -= 7
	b.log(job, "second\n", chunk)
	b.eventually("the job is shown as ended", func() bool { return followed(v, "j1") == jobs.Success })
	if diff := cmp.Diff("first\nsecond\n", b.text(v, "j1")); diff != "" {
		t.Error(diff)
	}
}

func TestRestartKnowsAllAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	chunk := b.log(job, "before\n", 0)
	b.eventually("the log is here", func() bool { return b.text(v, "j1") == "before\n" })
	stop()

	b.log(job, "meanwhile\n", chunk)
	b.move(job, jobs.Succeed, seq)
	v, stop = b.run(time.Minute)
	b.eventually("the job has ended", func() bool { return followed(v, "j1") == jobs.Success })
	if diff := cmp.Diff("before\nmeanwhile\n", b.text(v, "j1")); diff != "" {
		t.Error(diff)
	}
	stop()

	// Another replica, or one that lost its files, has the same. Its cursor alone must not hide what it lacks.
	if err := v.logs.Remove("j1"); !errors.Is(err, logfile.ErrClosed) {
		t.Fatal(err)
	}
	again, err := logfile.Open(filepath.Join(b.dir, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Remove("j1"); err != nil {
		t.Fatal(err)
	}
	v, _ = b.run(time.Minute)
	if diff := cmp.Diff("before\nmeanwhile\n", b.text(v, "j1")); diff != "" {
		t.Error(diff)
	}
}

func TestCursorSkipsWhatTheFilesHave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.log(job, "text\n", 0)
	b.logsRead(v, seq)
	stop()
	c := cursor{file: filepath.Join(b.dir, "cursor")}
	reached := c.load()
	if reached.Seq != seq {
		t.Errorf("it was read up to %d, want %d", reached.Seq, seq)
	}
	b.log(job, "more\n", seq)
	first := func(after bus.Mark) (seq uint64) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = b.bus.FollowLogs(ctx, after, func(c *bus.Chunk, _ bus.Mark) {
			if seq == 0 {
				seq = c.Seq
			}
			cancel()
		}, func() {})
		return seq
	}
	if got := first(reached); got != seq+1 {
		t.Errorf("goes on at %d, want %d", got, seq+1)
	}
	for what, change := range map[string]func(*bus.Mark){
		"another stream":                         func(m *bus.Mark) { m.Made = m.Made.Add(time.Second) },
		"a stream that has lost its newest ones": func(m *bus.Mark) { m.Seq += 5 },
		"a stream that has others since":         func(m *bus.Mark) { m.Stored = m.Stored.Add(time.Second) },
	} {
		other := reached
		change(&other)
		if got := first(other); got != 1 {
			t.Errorf("on %s goes on at %d, want 1", what, got)
		}
	}
}

func TestJobOfAnotherAPIIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// A view that follows nothing.
	logs, err := logfile.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	v := New(b.bus, logs, "", time.Minute, slog.New(slog.DiscardHandler))
	v.caughtUp(partJobs, &turn{})
	b.born("j1", "a", "/x")
	if got := b.state(v, "j1"); got != jobs.Queued {
		t.Errorf("%s", got)
	}
	ended := b.born("j2", "a", "/x")
	seq := b.move(ended, jobs.Start, 0)
	b.log(ended, "text\n", 0)
	b.move(ended, jobs.Succeed, seq)
	// Its log is not here yet.
	if got := b.state(v, "j2"); got != jobs.Running {
		t.Errorf("%s", got)
	}
	for _, id := range []string{"none", "no.id", "*", ">"} {
		if _, err := v.Job(t.Context(), id); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("j%d", i)
		b.born(id, "a", "/x")
		want = append([]string{id}, want...)
	}
	other := b.born("other", "b", "/x")
	b.move(other, jobs.Start, 0)
	b.eventually("all are there", func() bool {
		page, _, err := v.Page(Filter{}, 10, "")
		return err == nil && len(page) == 8 && page[0].State == jobs.Running
	})
	var got []string
	for cursor, pages := "", 0; ; pages++ {
		page, next, err := v.Page(Filter{Host: "a"}, 3, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page {
			got = append(got, j.ID)
		}
		if pages == 0 {
			// A birth moves no page.
			b.born("late", "a", "/x")
			b.eventually("the late one is there", func() bool { return followed(v, "late") == jobs.Queued })
		}
		if cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if page, _, err := v.Page(Filter{State: jobs.Running}, 10, ""); err != nil || len(page) != 1 || page[0].ID != "other" {
		t.Errorf("running: %v %v", page, err)
	}
	if _, _, err := v.Page(Filter{}, 10, "x!"); !errors.Is(err, ErrCursor) {
		t.Errorf("bad cursor: %v", err)
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	first := b.born("j1", "a", "/x")
	b.born("j2", "a", "/x")
	b.born("j3", "a", "/x")
	b.born("j4", "a", "/y")
	b.born("j5", "b", "/x")
	b.born("j6", "free", "/x")
	b.born("j7", "a", "/z")
	b.born("j8", "roomy", "/x")
	b.born("j9", "roomy", "/x")
	b.born("j10", "roomy", "/y")
	if _, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "roomy", Identity: "one", Slots: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "free", Identity: "one", Slots: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "a", Identity: "one"}); err != nil {
		t.Fatal(err)
	}
	b.move(first, jobs.Start, 0)
	b.eventually("the first is running", func() bool { return followed(v, "j1") == jobs.Running })
	for _, name := range []string{"a", "free", "roomy"} {
		b.eventually("the host is online", func() bool { h, _ := v.Host(name); return h.Online })
	}
	for id, want := range map[string]*jobs.Waiting{
		"j1":  nil,
		"j2":  {For: "job", Job: "j1", Position: 1},
		"j3":  {For: "job", Job: "j2", Position: 2},
		"j4":  {For: "slot"}, // those before it wait for the first
		"j7":  {For: "slot", Position: 1},
		"j10": nil, // there is a slot for it
		"j6":  nil,
		"j5":  {For: "host"},
	} {
		job, err := v.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, job.Waiting); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

func TestHostsAreTimedOutByTheOwnClock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	now := time.Now()
	event := bus.HostEvent{Name: "a", Host: &hosts.Host{Name: "a", StartedAt: now}}
	if isNew, due := v.hear(event, now); !isNew || !due {
		t.Error("a new host is not new")
	}
	if isNew, due := v.hear(event, now); isNew || due {
		t.Error("a renewal is new")
	}
	for after, online := range map[time.Duration]bool{0: true, time.Minute: true, time.Minute + time.Second: false} {
		if got := v.online(v.hosts["a"], now.Add(after)); got != online {
			t.Errorf("after %s online is %v", after, got)
		}
	}
	v.hear(bus.HostEvent{Name: "a"}, now)
	if h, known := v.Host("a"); !known || h.Online {
		t.Errorf("after it has left: known %v, online %v", known, h.Online)
	}
}

// What is lost on its way to a worker's journal comes to light while the worker goes on: it is told again and again what is under way.
func TestAHostIsToldAgainAndAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	begun := time.Now()
	event := bus.HostEvent{Name: "a", Host: &hosts.Host{Name: "a", StartedAt: begun}}
	told := 0
	for after := time.Duration(0); after < 3*tellEvery*time.Minute; after += 20 * time.Second {
		isNew, due := v.hear(event, begun.Add(after))
		if isNew != (after == 0) {
			t.Errorf("after %s it is new: %t", after, isNew)
		}
		if due {
			told++
		}
	}
	if told != 3 {
		t.Errorf("it was told %d times", told)
	}
}

func TestNotReadyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	away, err := bus.Connect(bus.Config{URL: "nats://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	logs, err := logfile.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	v := New(away, logs, "", time.Minute, slog.New(slog.DiscardHandler))
	reasons := strings.Join(v.NotReady(), "; ")
	for _, want := range []string{"bus: not connected", "jobs:", "logs:", "hosts:"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("%q does not name %q", reasons, want)
		}
	}
	if v.CaughtUp() {
		t.Error("caught up with nothing")
	}
	if _, err := v.Job(t.Context(), "j1"); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("unknown job while the bus is away: %v", err)
	}
}

// A job whose log the bus has lost is not running for ever.
func TestLogThatTheBusHasLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	for id, first := range map[string]int64{"tail": 0, "head": 100} {
		job := b.born(id, "a", "/x")
		seq := b.move(job, jobs.Start, 0)
		job.LogBytes = first
		b.log(job, "text\n", 0)
		job.LogBytes = 1000
		b.move(job, jobs.Succeed, seq)
	}
	after := b.born("after", "a", "/y")
	b.log(after, "still read\n", 0)
	b.eventually("later logs are read", func() bool { return b.text(v, "after") == "still read\n" })
	for _, id := range []string{"tail", "head"} {
		b.eventually("it is shown as ended", func() bool { return followed(v, id) == jobs.Success })
		job, err := v.Job(t.Context(), id)
		if err != nil || len(job.Warnings) != 1 || !strings.Contains(job.Warnings[0], "incomplete") {
			t.Errorf("%s: warnings %q, %v", id, job.Warnings, err)
		}
		b.text(v, id)
	}
}

// The job had ended before this API began, and the bus has lost some of its log: who reads that is told.
func TestALogThatWasLostBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	job := b.born("j1", "a", "/x")
	last := b.log(job, "text\n", 0)
	job.LogBytes = 1000
	b.move(job, jobs.Succeed, b.move(job, jobs.Start, 0))
	v, _ := b.run(time.Minute)
	answer(t, v, "j1") // which is kept, without the warning
	for range 2 {
		if got := b.text(v, "j1"); got != "text\n" {
			t.Errorf("%q", got)
		}
		if got, _ := v.Known("j1"); len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "has 5 of its 1000 bytes") {
			t.Errorf("warnings %q", got.Warnings)
		}
	}
	wantWarning := func() {
		t.Helper()
		if got := answer(t, v, "j1"); !strings.Contains(got, shortLog) {
			t.Error(got)
		}
	}
	wantWarning()
	// An answer that was being made meanwhile does not take its place.
	v.keepAnswer(&Shown{entry: v.jobs["j1"]}, []byte("{}"))
	wantWarning()
	// More of it comes, and not all.
	job.LogBytes = 5
	last = b.log(job, "more\n", last)
	b.eventually("the warning says so", func() bool {
		b.text(v, "j1")
		got, _ := v.Known("j1")
		return len(got.Warnings) == 1 && strings.Contains(got.Warnings[0], "has 10 of its 1000 bytes")
	})
	// Another API has it, and makes it known to the bus again.
	job.LogBytes = 10
	b.log(job, strings.Repeat("x", 990), last)
	noWarning := func(v *View) {
		t.Helper()
		b.eventually("nothing is lacking", func() bool { got, _ := v.Known("j1"); return len(got.Warnings) == 0 })
		if got := answer(t, v, "j1"); strings.Contains(got, shortLog) {
			t.Error(got)
		}
	}
	noWarning(v)
	// Who has seen that it lacks something comes too late with the warning.
	v.mu.Lock()
	v.judge(v.jobs["j1"])
	v.mu.Unlock()
	noWarning(v)
}

// What one API has not of a log is no matter of the bus's: when it has the job made known again it keeps the warning to itself. One that is
// there all the same ends when the log is read and whole.
func TestAWarningIsOfOneAPI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	job := b.born("j1", "a", "/x")
	job.LogBytes = 5
	b.move(job, jobs.Succeed, b.move(job, jobs.Start, 0))
	v, _ := b.run(time.Minute)
	b.text(v, "j1")
	if got, _ := v.Known("j1"); len(got.Warnings) != 1 {
		t.Fatalf("warnings %q", got.Warnings)
	}
	bustest.Lose(t, b.server)
	b.eventually("the loss is noticed", func() bool { return v.Writable() != nil })
	b.eventually("the job is known again", func() bool { return v.Writable() == nil && v.CaughtUp() })
	if got, err := b.bus.FindJob(t.Context(), "j1"); err != nil || len(got.Warnings) > 0 {
		t.Errorf("the bus has the warnings %q, %v", got.Warnings, err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "logs", "j1.log"), []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := b.born("j2", "a", "/y")
	b.log(other, "text\n", 0)
	other.LogBytes, other.Warnings = 5, []string{shortLog + "once", "another"}
	b.move(other, jobs.Succeed, b.move(other, jobs.Start, 0))
	b.eventually("the other has ended", func() bool { return followed(v, "j2") == jobs.Success })
	for id, want := range map[string]int{"j1": 0, "j2": 1} {
		if got := b.text(v, id); got != "text\n" {
			t.Errorf("%s: %q", id, got)
		}
		if got, _ := v.Known(id); len(got.Warnings) != want {
			t.Errorf("%s, whose log is whole: %q", id, got.Warnings)
		}
	}
}

// A job that changes nothing waits for others of its action alone.
func TestWaitingOfReaders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	if _, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "a", Identity: "one", Slots: 1}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the host is online", func() bool { h, _ := v.Host("a"); return h.Online })
	for n := range hosts.Readers + 2 {
		job := jobs.Job{ID: fmt.Sprintf("v%d", n), Action: jobs.Validate, State: jobs.Queued, Host: "a"}
		if n == 0 {
			job.State = jobs.Running
		}
		v.Add(&bus.Birth{Job: job}, uint64(n+1))
	}
	v.Add(&bus.Birth{Job: jobs.Job{ID: "s", Action: jobs.Status, State: jobs.Queued, Host: "a"}}, 1000)
	for id, want := range map[string]*jobs.Waiting{
		"v0": nil, "v7": nil, "v8": {For: "slot", Position: 7}, "v9": {For: "slot", Position: 8}, "s": nil,
	} {
		if job, _ := v.Known(id); !cmp.Equal(want, job.Waiting) {
			t.Errorf("%s: %+v", id, job.Waiting)
		}
	}
	// Those that are about to start wait for a host that takes none.
	v.hear(bus.HostEvent{Name: "a", Host: &hosts.Host{Name: "a", Slots: 1, Error: "the disk is full"}}, time.Now())
	for id, want := range map[string]*jobs.Waiting{"v7": {For: "host"}, "v9": {For: "slot", Position: 8}} {
		if job, _ := v.Known(id); !cmp.Equal(want, job.Waiting) {
			t.Errorf("%s: %+v", id, job.Waiting)
		}
	}
}

// What is found by asking may overtake what is followed: an older message never brings a job back.
func TestOlderMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	first := b.move(job, jobs.Start, 0)
	old := bus.JobMessage{Job: *job, Seq: first}
	b.move(job, jobs.Succeed, first)
	b.eventually("the job has ended", func() bool { return followed(v, "j1") == jobs.Success })
	v.take(&old)
	v.take(&bus.JobMessage{Job: *b.born("j2", "a", "/x"), Seq: first, Birth: true})
	if got := b.state(v, "j1"); got != jobs.Success {
		t.Errorf("after an older message the job is %s", got)
	}
}

// A worker that could not take in which jobs are under way on its host is told again with its next sign of life.
func TestAHostIsToldAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.born("j1", "a", "/x")
	questions := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	finish, err := b.bus.Answer(ctx, "a", "jobs", func(_ context.Context, question []byte) ([]byte, error) {
		questions <- string(question)
		if len(questions) < 2 {
			return nil, errors.New("a disk that does not answer")
		}
		return []byte(`{}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer finish()
	defer cancel()
	h := &hosts.Host{Name: "a", Identity: "one"}
	lease, err := b.bus.AcquireLease(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := b.run(time.Minute)
	renew := func() {
		t.Helper()
		if err := lease.Renew(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("it is told twice", func() bool {
		renew()
		return len(questions) == 2
	})
	b.eventually("it is known that it was told", func() bool {
		v.mu.RLock()
		defer v.mu.RUnlock()
		return !v.hosts["a"].tellAt.IsZero()
	})
	renew()
	h.Version = "new"
	renew()
	b.eventually("the last sign of life is heard", func() bool {
		host, _ := v.Host("a")
		return host.Version == "new"
	})
	if got := len(questions); got != 2 {
		t.Errorf("it is told %d times", got)
	}
	if first := <-questions; first != `{"jobs":["j1"]}` {
		t.Errorf("it is told %s", first)
	}
}

// A host whose consumer cannot be made is there all the same, and gets it once it can.
func TestAHostWithoutItsConsumer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told lines
	b.logger = slog.New(slog.NewTextHandler(&told, nil))
	mend := bustest.SpoilConsumer(t, b.server, "a")
	v, _ := b.run(time.Minute)
	h := &hosts.Host{Name: "a", Identity: "one"}
	lease, err := b.bus.AcquireLease(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the failure is told", func() bool { return told.count("its consumer") > 0 })
	if h, _ := v.Host("a"); !h.Online {
		t.Error("the host is not online")
	}
	mend()
	begun := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = b.bus.TakeRequests(ctx, "a", func() { close(begun) }, func(context.Context, *bus.Birth, uint64) error { return nil })
	}()
	b.eventually("requests are taken", func() bool {
		if err := lease.Renew(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		select {
		case <-begun:
			return true
		default:
			return false
		}
	})
}
