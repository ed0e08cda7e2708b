package view

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// awaitsLog is a view that follows nothing, with an ended job whose log has not come.
func (b *bundle) awaitsLog(id string) (*View, *entry) {
	v := b.unfed()
	v.caughtUp(partJobs, &turn{})
	for i, state := range []jobs.State{jobs.Running, jobs.Success} {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: state, LogBytes: 5}, Seq: uint64(i) + 1})
	}
	return v, v.jobs[id]
}

// Where the file is another job's, the log that is given is the one that was fetched in its place.
func TestALogWhoseFileIsAnotherJobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.log(job, "the log of it\n", 0)
	b.move(job, jobs.Succeed, seq)
	if err := os.WriteFile(v.logs.Path("j1"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.take(&bus.JobMessage{Job: *job, Seq: 2})
	if got := b.text(v, "j1"); got != "the log of it\n" {
		t.Errorf("the log is %q", got)
	}
	if shown, _ := v.Known("j1"); len(shown.Warnings) > 0 {
		t.Errorf("the job has %q", shown.Warnings)
	}
}

// A bus that has lost its store is told that a job has ended, though its end is not shown yet.
func TestAnEndThatWaitsForItsLogIsKnown(t *testing.T) {
	t.Parallel()
	v, e := setup(t).awaitsLog("j1")
	if shown, known := v.shown(e).State, v.knowledge(e).Job.State; shown != jobs.Running || known != jobs.Success {
		t.Errorf("%s is shown, and %s is told", shown, known)
	}
}

// The time in which the bus is away is none in which it would not give a log.
func TestALogIsWaitedForWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, e := b.awaitsLog("j1")
	fails := func() jobs.State {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.failed("a", "j1", time.Now().Add(-time.Hour), errors.New("it does not come"))
		return e.traits.Value().State
	}
	b.server.Stop()
	b.eventually("the bus is away", func() bool { return !b.bus.Connected() })
	if got := fails(); got != jobs.Running {
		t.Errorf("the job is shown as %s", got)
	}
}

// A start anew has to read again what could not be brought into its file: the cursor stays before it.
func TestTheCursorStaysBeforeALogThatIsTriedAgain(t *testing.T) {
	t.Parallel()
	v := setup(t).unfed()
	v.retries["other"] = &retry{}
	if v.store(t.Context(), &bus.Chunk{Host: "a", Job: "j1", Text: []byte("one\n")}) {
		t.Error("all is said to be in the files")
	}
	delete(v.retries, "other")
	if !v.store(t.Context(), &bus.Chunk{Host: "a", Job: "j1", Offset: 4, Text: []byte("two\n")}) {
		t.Error("it is not, though it is")
	}
}

// Of a job that is let go nothing is waited for, nor tried again, for a later one of its id.
func TestALogOfAJobThatIsLetGoIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	v, e := setup(t).awaitsLog("j1")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed("a", "j1", time.Now().Add(-time.Hour), errors.New("it does not come"))
	if len(v.retries) != 1 || v.lacking["j1"] != e {
		t.Fatalf("%d logs are tried again, %d lack something", len(v.retries), len(v.lacking))
	}
	v.forget(e)
	if len(v.retries)+len(v.lacking) > 0 {
		t.Errorf("%d logs are tried again, %d lack something", len(v.retries), len(v.lacking))
	}
}

// What a power cut has taken of the file of a running job is fetched at the next start, though nothing more comes of the log.
func TestALogThatAPowerCutHasShortened(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	b.move(job, jobs.Start, 0)
	seq := b.log(job, "one\ntwo\n", 0)
	b.logsRead(v, seq)
	stop()
	if err := os.Truncate(v.logs.Path("j1"), 4); err != nil {
		t.Fatal(err)
	}
	v, _ = b.run(time.Minute)
	b.eventually("the log is whole", func() bool { return b.text(v, "j1") == "one\ntwo\n" })
}

// An API that joins, or starts anew, keeps no file open of a log to which nothing comes any more, whichever it hears of first.
func TestLogsOfEndedJobsAreNotKeptOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ended := func(id string) (*bus.Chunk, *bus.JobMessage) {
		job := b.born(id, "a", "/x")
		b.move(job, jobs.Start, 0)
		last, err := b.bus.LastStatus(t.Context(), "a", id)
		if err != nil {
			t.Fatal(err)
		}
		b.log(job, "text\n", 0)
		b.move(job, jobs.Succeed, last.Seq)
		return &bus.Chunk{Host: "a", Job: id, Text: []byte("text\n")}, &bus.JobMessage{Job: *job, Seq: last.Seq + 1}
	}
	v := b.unfed()
	first, itsEnd := ended("j1")
	if err := v.append(first); err != nil {
		t.Fatal(err)
	}
	if len(b.open()) != 1 {
		t.Fatalf("open: %q", b.open())
	}
	v.take(itsEnd)
	second, itsEnd := ended("j2")
	v.take(itsEnd)
	if err := v.append(second); err != nil {
		t.Fatal(err)
	}
	for part := range v.behind {
		v.caughtUp(part, &turn{})
	}
	if !v.CaughtUp() {
		t.Fatal("it has not caught up")
	}
	b.eventually("no log is open", func() bool { return len(b.open()) == 0 })
	// Behind the start, too: another API has made a log known again.
	third, itsEnd := ended("j3")
	v.addEnded(itsEnd)
	if err := v.append(third); err != nil {
		t.Fatal(err)
	}
	b.eventually("no log is open", func() bool { return len(b.open()) == 0 })
}

// open are the files of logs that this process has open in the directory of the bundle.
func (b *bundle) open() (files []string) {
	b.t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, fd := range list {
		if file, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(file, b.dir) && strings.HasSuffix(file, ".log") {
			files = append(files, file)
		}
	}
	return files
}
