package view

import (
	"errors"
	"os"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/logfile/logfiletest"
)

// The watchdog's check does not return while something holds the view, for which every request waits.
func TestCheckWaitsForWhatHangs(t *testing.T) {
	t.Parallel()
	v := setup(t).unfed()
	v.Check()
	v.mu.Lock()
	returned := make(chan struct{})
	go func() { defer close(returned); v.Check() }()
	select {
	case <-returned:
		t.Error("it returns while the view hangs")
	case <-time.After(100 * time.Millisecond):
	}
	v.mu.Unlock()
	select {
	case <-returned:
	case <-time.After(patience):
		t.Error("it does not return")
	}
}

// While the disk of one log hangs, every job is shown and taken in as ever, its own too: only its log waits.
func TestADiskThatHangs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	v.caughtUp(partJobs, &turn{})
	at := func(id string, state jobs.State, created int64, seq uint64, birth bool) {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: id, Host: "a", State: state, CreatedAt: time.Unix(created, 0)}, Seq: seq, Birth: birth})
	}
	at("hangs", jobs.Queued, 1, 1, true)
	at("hangs", jobs.Running, 1, 2, false)
	file := logfiletest.Hang(t, v.logs.Path("hangs"))
	stored := make(chan bool, 1)
	go func() { stored <- v.store(t.Context(), &bus.Chunk{Host: "a", Job: "hangs", Text: []byte("text")}) }()
	file.AwaitOpen()

	remove, taken := func() error { return nil }, make(chan struct{})
	go func() {
		defer close(taken)
		at("other", jobs.Running, 1, 3, false)
		v.Counts()
		at("hangs", jobs.Success, 1, 4, false) // without a log
		for id, want := range map[string]jobs.State{"hangs": jobs.Success, "other": jobs.Running} {
			if got := followed(v, id); got != want {
				t.Errorf("%s is %s", id, got)
			}
		}
		remove = v.logs.Detach("hangs")
		at("hangs", jobs.Queued, 2, 5, true) // its id is born again, before the file of the first is removed
		if got := followed(v, "hangs"); got != jobs.Queued {
			t.Errorf("the next job of the id is %s", got)
		}
	}()
	select {
	case <-taken:
	case <-time.After(patience):
		t.Fatal("they wait")
	}
	file.LetGo()
	<-stored
	if err := remove(); err != nil {
		t.Error(err)
	}
}

// How long the log of a job is that runs is found out when that is taken in, and not while it is shown.
func TestALogIsLookedAtBeforeItsJobIsTakenIn(t *testing.T) {
	t.Parallel()
	v := setup(t).unfed()
	if err := os.WriteFile(v.logs.Path("j1"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.take(&bus.JobMessage{Job: jobs.Job{ID: "j1", Host: "a", State: jobs.Running}, Seq: 1})
	if err := os.Remove(v.logs.Path("j1")); err != nil {
		t.Fatal(err)
	}
	if job, _ := v.Known("j1"); job.LogBytes != 4 {
		t.Errorf("its log has %d bytes", job.LogBytes)
	}
	if err := v.logs.Remove("j1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.logs.Path("j1"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if job, _ := v.Known("j1"); job.LogBytes != 0 {
		t.Errorf("its log is looked at again, and has %d bytes", job.LogBytes)
	}
}

// Of jobs that have ended the logs are looked at when they are read, and not because their ends come again.
func TestALogOfAnEndThatComesAgainIsNotLookedAt(t *testing.T) {
	t.Parallel()
	v := setup(t).unfed()
	end := bus.JobMessage{Job: jobs.Job{ID: "j1", Host: "a", State: jobs.Success, LogBytes: 4}, Seq: 1}
	if err := os.WriteFile(v.logs.Path("j1"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.take(&end)
	v.caughtUp(partJobs, &turn{})
	v.take(&end)
	if size := v.logs.Get("j1").Size(); size != 0 {
		t.Errorf("its log has %d bytes", size)
	}
}

// wantLost waits for the end of a follow that has to notice a loss.
func wantLost(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, bus.ErrLost) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the loss is not noticed")
	}
}

// What a handler that hung has at hand when it goes on is of a stream that may have been lost since: it is not taken in.
func TestAHandlerThatOutlivesItsFollow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	over, begun, ended := &turn{}, make(chan struct{}), make(chan error, 1)
	go func() { ended <- v.followJobs(t.Context(), over, func() { close(begun) }) }()
	<-begun
	b.born("j0", "a", "/w")
	b.eventually("it follows", func() bool { _, known := v.Known("j0"); return known })
	v.mu.Lock() // held as the disk that the handler looks at
	b.born("j1", "a", "/x")
	bustest.Lose(t, b.server)
	wantLost(t, ended)
	over.over = true
	v.mu.Unlock()
	v.caughtUp(partJobs, over)
	for range 50 {
		if _, known := v.Known("j1"); known || len(v.NotReady()) < 3 {
			t.Fatalf("the job is known: %t; not ready: %q", known, v.NotReady())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// A job is let go though the disk of its log hangs.
func TestAJobWhoseDiskHangsIsLetGo(t *testing.T) {
	t.Parallel()
	v := many(t, 4)
	others := []string{"j1", "j2", "j3"}
	for _, id := range others {
		if err := v.logs.Get(id).Append(0, []byte("text")); err != nil {
			t.Fatal(err)
		}
	}
	file := logfiletest.Hang(t, v.logs.Path("j0"))
	stored := make(chan error, 1)
	log := v.logs.Get("j0")
	go func() { stored <- log.Append(0, []byte("text")) }()
	file.AwaitOpen()
	forgotten := make(chan struct{})
	go func() {
		for _, id := range append([]string{"j0"}, others...) {
			v.mu.RLock()
			ended := Ended{Job: jobs.Job{ID: id}, entry: v.jobs[id]}
			v.mu.RUnlock()
			v.Forget(&ended)
		}
		close(forgotten)
	}()
	select {
	case <-forgotten:
	case <-time.After(patience):
		t.Error("it waits")
	}
	there := func() (n int) {
		for _, id := range others {
			if _, err := os.Stat(v.logs.Path(id)); err == nil {
				n++
			}
		}
		return n
	}
	if n := there(); n != len(others) {
		t.Errorf("of %d logs behind the one that hangs %d are there: each has a thread that may hang", len(others), n)
	}
	file.LetGo()
	if err := <-stored; !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("what was written: %v", err)
	}
	for end := time.Now().Add(patience); there() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d logs are never removed", there())
		}
	}
}

// A host is admitted when all is caught up, of which the hosts themselves are a part: following them ends all the same, and who was not
// admitted is as soon as it is heard again.
func TestFollowingHostsEndsWhileOneIsAdmitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v := b.unfed()
	if _, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- v.followHosts(t.Context(), &turn{}, func() {}) }()
	b.eventually("the host is heard", func() bool { _, known := v.Host("a"); return known })
	bustest.Lose(t, b.server)
	wantLost(t, ended)
	if _, due := v.hear(bus.HostEvent{Name: "a", Host: &hosts.Host{Name: "a"}}, time.Now()); !due {
		t.Error("the host is not admitted when it is heard again")
	}
}
