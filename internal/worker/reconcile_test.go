package worker

import (
	"bytes"
	"context"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// taken sends a request and takes it off the bus, as a worker does whose journal is lost afterwards.
func (b *testBundle) taken(birth *bus.Birth) {
	b.t.Helper()
	b.send(birth)
	_, seq, err := b.bus.Birth(b.t.Context(), "a", birth.ID)
	must(b.t, err)
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.bus.TakeRequests(ctx, "a", func() {}, func(context.Context, *bus.Birth, uint64) error { return nil })
	}()
	b.eventually("it is acknowledged", func() bool {
		taken, err := b.bus.Taken(b.t.Context(), "a")
		must(b.t, err)
		return taken >= seq
	})
	cancel()
	<-ended
}

// lives is a process that has a job in its environment, as those of its run have. It ends with the test.
func lives(t *testing.T, job string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.Command("sleep", "600")
	cmd.Env = []string{"RUNNER_JOB=" + job}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	return cmd
}

// loses checks that none but these jobs are named as lost. One of them may have been named by an answer that came too late.
func (b *testBundle) loses(may, named []string) {
	b.t.Helper()
	for _, id := range named {
		if !slices.Contains(may, id) {
			b.t.Errorf("%s is lost", id)
		}
	}
}

// The journal of a run was lost: the run is left alone, and at its end its job says what cannot be known, once.
func TestAJournalThatIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"own", "others", "begun"} {
		birth := b.birth(id, jobs.Up)
		b.taken(birth)
	}
	publish := func(id string, connection *bus.Bus) {
		running := b.birth(id, jobs.Up).Job
		must(t, running.Move(jobs.Start, time.Now()))
		if _, err := connection.PublishStatus(t.Context(), &running, 0); err != nil {
			t.Fatal(err)
		}
	}
	publish("others", b.bus) // of a worker whose data directory is gone
	publish("begun", b.bus)
	if _, err := b.bus.PublishLog(t.Context(), &bus.Chunk{Host: "a", Job: "begun", Text: []byte("so far\n")}, 0); err != nil {
		t.Fatal(err)
	}
	process := lives(t, "begun")
	b.run()
	// The third was found by its process.
	b.loses([]string{"own", "others"}, b.reconcile(t.Context(), "own", "others", "begun", "none", "no id!"))
	// Of the one that nobody had begun nothing is lost.
	run := b.next()
	if run.run.Job != "own" {
		t.Errorf("%s runs", run.run.Job)
	}
	run.result <- exec.Result{}
	if got := b.await("own", ended); got.State != jobs.Success {
		t.Errorf("own: %+v", got)
	}
	wantEnd(t, b.await("others", ended), jobs.Failed, jobs.ReasonInterrupted, "the record of the run was lost", "no lab in "+filepath.Join(b.root, "others"))
	if got, err := b.bus.LastStatus(t.Context(), "a", "begun"); err != nil || got.State != jobs.Running {
		t.Errorf("while its processes live: %+v %v", got, err)
	}
	if unknown := b.reconcile(t.Context(), "begun", "others", "own"); len(unknown) > 0 {
		t.Errorf("asked again: %q", unknown)
	}
	must(t, process.Process.Kill())
	wantEnd(t, b.await("begun", ended), jobs.Failed, jobs.ReasonInterrupted, "the record of the run was lost")
	var log bytes.Buffer
	if err := b.bus.ReadLog(t.Context(), "a", "begun", func(c *bus.Chunk) error { log.Write(c.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.HasPrefix(text, "so far\nnetlab-worker: the record of this run was lost on host a") || strings.Count(text, "so far") != 1 {
		t.Errorf("the log: %q", text)
	}
	if n := b.starts.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	b.wantEmptyJournal()
}

// A lost run is stopped where its job is canceled.
func TestCancelOfALostRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.taken(b.birth("lost", jobs.Up))
	running := b.birth("lost", jobs.Up).Job
	must(t, running.Move(jobs.Start, time.Now()))
	if _, err := b.bus.PublishStatus(t.Context(), &running, 0); err != nil {
		t.Fatal(err)
	}
	lives(t, "lost")
	b.run()
	b.reconcile(t.Context(), "lost")
	b.cancel("lost")
	wantEnd(t, b.await("lost", ended), jobs.Canceled, jobs.ReasonCanceled, "stopped, because it was canceled")
	if there, err := exec.Lives("lost"); err != nil || there {
		t.Errorf("it lives: %v %v", there, err)
	}
}

// What is left of an entry whose request is torn is enough to go on with the run.
func TestATornRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	b.taken(birth)
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, obedient, nil)
	run.awaitReady(t)
	must(t, os.WriteFile(filepath.Join(b.worker.journal.dir, "j1", requestFile), []byte(`{"birth":{"id":"j1`), 0o600))
	b.worker.journal.known = map[string]*entry{} // as in a worker that starts
	b.run()
	b.await("j1", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	b.cancel("j1")
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled, "stopped, because it was canceled")
	if n := b.starts.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
	b.wantEmptyJournal()
}

// A power cut has left files of ended jobs that say nothing: the jobs are as any others, and in nobody's way.
func TestAnEndThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, content := range map[string]string{"empty": "", "torn": `{"id":"torn","sta`, "other": `{"id":"empty","state":"success"}`, "zeros": "\x00\x00\x00"} {
		must(t, os.WriteFile(b.worker.ended.file(id), []byte(content), 0o600))
	}
	b.taken(b.birth("torn", jobs.Create)) // and not in the journal
	b.submit("empty", nil)
	b.submit("behind", nil)
	b.run()
	ctx, cancel := context.WithTimeout(t.Context(), limit/3)
	defer cancel()
	b.loses([]string{"torn"}, b.reconcile(ctx, "other", "torn", "zeros"))
	for range 3 {
		b.next().result <- exec.Result{}
	}
	for _, id := range []string{"empty", "torn", "behind"} {
		if got := b.await(id, ended); got.State != jobs.Success {
			t.Errorf("%s: %+v", id, got)
		}
	}
	b.wantEmptyJournal()
	b.eventually("what says nothing is gone", func() bool {
		return slices.Equal(slices.Sorted(slices.Values(b.worker.ended.ids())), []string{"behind", "empty", "torn"})
	})
}

// What keeps the worker from one job keeps it from no other, and it is asked again.
func TestReconcileGoesOnBehindAFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	must(t, os.Mkdir(b.worker.ended.file("faulty"), 0o700)) // cannot be read
	for _, id := range []string{"faulty", "behind"} {
		b.taken(b.birth(id, jobs.Create))
	}
	b.run()
	b.eventually("it is said for which job it cannot be told", func() bool {
		_, err := b.bus.Ask(t.Context(), "a", "jobs", map[string]any{"jobs": []string{"faulty", "behind"}})
		var refusal *bus.HostError
		return errors.As(err, &refusal) && strings.Contains(refusal.Text, "job faulty") && !strings.Contains(refusal.Text, "job behind")
	})
	b.next().result <- exec.Result{}
	b.await("behind", ended)
}
