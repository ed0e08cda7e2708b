package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
)

// wantLoser waits for the end of a worker that has lost its host's name, which it says.
func wantLoser(t *testing.T, w *program, words string) {
	t.Helper()
	w.awaitEnd()
	if code := w.cmd.ProcessState.ExitCode(); code < 1 {
		t.Errorf("the loser ended with exit code %d", code)
	}
	if log := strings.Join(w.lines, "\n"); !strings.Contains(log, words) {
		t.Errorf("the loser does not say %q:\n%s", words, log)
	}
}

// workerOf starts a worker of that name with that data directory.
func (f *fleet) workerOf(host, data string, extra ...string) *program {
	f.t.Helper()
	env := append(f.environment("home-"+host),
		"NETLAB_WORKER_DATA_DIR="+f.path(data), "NETLAB_WORKER_HOST="+host, "NETLAB_BUS_URL="+f.busURL, "NETLAB_WORKER_SLOTS=1")
	return launch(f.t, filepath.Join(f.release, "netlab-worker"), append(env, extra...))
}

// busyWorker is a worker with a run in dir that waits at its gate, and with a job that it has taken and not begun.
func (f *fleet) busyWorker(t *testing.T) (w *program, dir string, running, taken jobs.Job) {
	t.Helper()
	a := f.any()
	w = f.workerOf("alpha", "old")
	a.awaitHost(t, "alpha")
	dir = f.chatter("running", object{"lines": 1, "gate": "gate"})
	running = a.submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
	a.awaitLog(t, running.ID, "chatter 1 of ")
	taken = a.submit(t, object{"action": "create", "workdir": f.chatter("taken", object{"lines": 1}), "host": "alpha"})
	awaitEntry(t, f.path("old", "jobs", taken.ID))
	return w, dir, running, taken
}

// A worker is frozen for so long that another one takes over its name. When it comes back it takes nothing more, says why, and
// ends. Its run was left alone meanwhile, and whatever it had not begun is the other one's.
func TestAFrozenWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	f := stepFleet(t)
	a := f.any()
	frozen, dir, running, taken := f.busyWorker(t)
	_ = frozen.cmd.Process.Signal(syscall.SIGSTOP)
	// One whose request is on its way to it.
	sent := a.submit(t, object{"action": "create", "workdir": f.chatter("sent", object{"lines": 1}), "host": "alpha"})
	a.awaitOffline(t, "alpha")
	f.workerOf("alpha", "new")
	a.awaitHost(t, "alpha")
	a.awaitLog(t, running.ID, "the record of this run was lost")
	_ = frozen.cmd.Process.Signal(syscall.SIGCONT)
	wantLoser(t, frozen, "is held by another worker")
	openGate(t, dir)
	for id, want := range map[string]jobs.State{running.ID: jobs.Failed, taken.ID: jobs.Success, sent.ID: jobs.Success} {
		f.wantOneRun(t, id, want)
	}
}

// wantOneRun waits for a job's end: that of its one run, or, where it is a failure, that this cannot be known.
func (f *fleet) wantOneRun(t *testing.T, id string, want jobs.State) {
	t.Helper()
	ended, log := f.any().finish(t, id)
	if ended.State != want || startsOf(log) != 1 || want == jobs.Failed && ended.Reason != jobs.ReasonInterrupted {
		t.Errorf("%s: %s for %q, error %s, %d starts", ended.Workdir, ended.State, ended.Reason, text(ended.Error), startsOf(log))
	}
	if got := f.busLog(t, id); got != log {
		t.Errorf("the bus has\n%s\nHTTP gives\n%s", got, log)
	}
	checkHistory(t, f.history(id))
	if left := processesOf(id); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
}

// awaitEntry waits until the journal has an entry.
func awaitEntry(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if exists(t, dir, "request.json") {
			return
		}
	}
	t.Fatalf("there never was %s", dir)
}

// A data directory is copied while its worker runs a job, and a second worker is started with the copy: the first one says so and
// ends. The run goes on in the first directory, so the second worker cannot know how it ends, and says that. What had not begun
// it runs.
func TestADataDirectoryIsCopied(t *testing.T) {
	t.Parallel()
	f := stepFleet(t)
	first, dir, running, taken := f.busyWorker(t)
	if out, err := exec.Command("cp", "-a", f.path("old"), f.path("copy")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.workerOf("alpha", "copy")
	wantLoser(t, first, "a copy of this one's data directory")
	openGate(t, dir)
	for id, want := range map[string]jobs.State{running.ID: jobs.Failed, taken.ID: jobs.Success} {
		f.wantOneRun(t, id, want)
	}
	f.awaitEmptyJournal(f.path("copy", "jobs"))
}
