package view

import (
	"errors"
	"os"
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
