package worker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// played is a run of the driver that the test plays.
type played struct {
	phases chan string
	result chan exec.Result
}

func (p *played) Phases() <-chan string                  { return p.phases }
func (p *played) Stop(context.Context, exec.Grace) error { return nil }
func (p *played) Release()                               {}
func (p *played) Wait(ctx context.Context) (exec.Result, error) {
	select {
	case result := <-p.result:
		return result, nil
	case <-ctx.Done():
		return exec.Result{}, ctx.Err()
	}
}

// testBundle is a worker whose driver the test plays.
type testBundle struct {
	t      *testing.T
	bus    *bus.Bus
	server *bus.Server
	root   string
	worker *Worker
	starts atomic.Int32
	runs   chan *played
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	b := &testBundle{t: t, root: t.TempDir(), runs: make(chan *played, 10)}
	b.bus, b.server = bustest.NewServer(t)
	// What the driver would say of a Netlab that is there.
	python := filepath.Join(b.root, "python3")
	answer := `{"version":"26.10","python":"3.11","script":"/bin/netlab","ansible":true}`
	if err := os.WriteFile(python, []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	b.worker, err = New(t.Context(), Config{
		Host: "a", DataDir: t.TempDir(), Roots: []string{b.root}, Python: python, Slots: 2, Timeout: time.Hour,
		Log: slog.New(slog.DiscardHandler),
		Start: func(exec.Run) (Process, error) {
			b.starts.Add(1)
			run := &played{phases: make(chan string, 10), result: make(chan exec.Result, 1)}
			b.runs <- run
			return run, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.bus.EnsureConsumer(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	return b
}

// run lets the worker work until the test ends.
func (b *testBundle) run() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	connection := bustest.Connect(b.t, b.server, b.worker.Source())
	go func() { done <- b.worker.Run(ctx, connection) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

func (b *testBundle) submit(id string, sealed map[string]string) {
	b.t.Helper()
	birth := &bus.Birth{Job: jobs.Job{
		ID: id, Action: jobs.Create, State: jobs.Queued, Host: "a", Workdir: filepath.Join(b.root, id), Warnings: []string{},
		CreatedAt: time.Unix(1_800_000_000, 0).UTC(), Request: jobs.Request{Action: jobs.Create},
	}, Topology: "nodes: [ r1 ]"}
	if sealed != nil {
		var err error
		if birth.Sealed, err = bus.SealEnvironment(sealed, b.worker.publicKey); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := b.bus.Submit(b.t.Context(), birth); err != nil {
		b.t.Fatal(err)
	}
}

// await waits for a state of the job on the bus.
func (b *testBundle) await(id string, ok func(*bus.JobMessage) bool) *bus.JobMessage {
	b.t.Helper()
	var last *bus.JobMessage
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		var err error
		if last, err = b.bus.LastStatus(b.t.Context(), "a", id); err == nil && ok(last) {
			return last
		}
	}
	b.t.Fatalf("job %s never got there: %+v", id, last)
	return nil
}

func ended(m *bus.JobMessage) bool { return m.State.Terminal() }

// Neither phases nor errors, which Netlab words, show a secret.
func TestSecretsAreMaskedInEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", map[string]string{"TOKEN": "correct-horse"})
	run := <-b.runs
	run.phases <- "using correct-horse"
	if got := b.await("j1", func(m *bus.JobMessage) bool { return m.Phase != "" }); got.Phase != "using ***" {
		t.Errorf("phase %q", got.Phase)
	}
	run.result <- exec.Result{ExitCode: 1, Error: "no correct-horse here"}
	got := b.await("j1", ended)
	if got.Error == nil || *got.Error != "no *** here" || got.Reason != jobs.ReasonNetlabFailed {
		t.Errorf("error %v, reason %q", got.Error, got.Reason)
	}
}

// A job that somebody else has claimed or ended is not run.
func TestAClaimThatIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, state := range map[string]jobs.State{"running": jobs.Running, "canceled": jobs.Canceled} {
		b.submit(id, nil)
		other := &jobs.Job{ID: id, Host: "a", State: state, Warnings: []string{}}
		if _, err := b.bus.PublishStatus(t.Context(), other, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.submit("free", nil)
	b.run()
	(<-b.runs).result <- exec.Result{}
	if got := b.await("free", ended); got.State != jobs.Success {
		t.Errorf("%s", got.State)
	}
	for left := []string{""}; len(left) > 0; {
		files, err := filepath.Glob(filepath.Join(b.worker.journal.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		left = files
	}
	if n := b.starts.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	if got, err := b.bus.LastStatus(t.Context(), "a", "running"); err != nil || got.State != jobs.Running || got.Source != "/test" {
		t.Errorf("the other's job is %+v %v", got, err)
	}
}

// A request that comes again, after its job has ended and its journal entry is gone, runs nothing.
func TestARequestThatComesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	(<-b.runs).result <- exec.Result{}
	b.await("j1", ended)
	birth := &bus.Birth{Job: jobs.Job{ID: "j1", Host: "a", State: jobs.Queued, Action: jobs.Create, Workdir: filepath.Join(b.root, "j1")}}
	if err := b.worker.take(t.Context(), birth, 1); err != nil {
		t.Fatal(err)
	}
	b.submit("j2", nil)
	(<-b.runs).result <- exec.Result{}
	b.await("j2", ended)
	if n := b.starts.Load(); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
}

func TestTheWorkersOwnLinesAreInTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	(<-b.runs).result <- exec.Result{}
	got := b.await("j1", ended)
	var log strings.Builder
	if err := b.bus.ReadLog(t.Context(), "a", "j1", func(c *bus.Chunk) error { log.Write(c.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	want := "netlab-worker: create in " + filepath.Join(b.root, "j1") + " on host a, Netlab 26.10\n"
	if diff := cmp.Diff(want, log.String()); diff != "" || got.LogBytes != int64(len(want)) {
		t.Errorf("logBytes %d, %s", got.LogBytes, diff)
	}
}
