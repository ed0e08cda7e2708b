package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/people"
)

// played is a run of the driver that the test plays.
type played struct {
	phases  chan string
	result  chan exec.Result
	asks    chan json.RawMessage
	answers chan string
	stopped chan struct{}
	// run is what was to be run.
	run exec.Run
	// stop is what Stop does besides closing stopped; nil: the run ends as one that was interrupted.
	stop func() error
}

func (p *played) Phases() <-chan string        { return p.phases }
func (p *played) Asks() <-chan json.RawMessage { return p.asks }
func (p *played) Release()                     {}

func (p *played) Answer(refused string) error {
	p.answers <- refused
	return nil
}

func (p *played) Stop(context.Context, exec.StopOptions) error {
	close(p.stopped)
	if p.stop != nil {
		return p.stop()
	}
	p.result <- exec.Result{ExitCode: 130, Error: "interrupted"}
	return nil
}

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
	server *embedded.Server
	root   string
	// tools has a docker and a Python that are played.
	tools  string
	config Config
	worker *Worker
	starts atomic.Int32
	runs   chan *played
}

func setup(t *testing.T, changes ...func(*Config)) *testBundle {
	t.Helper()
	b := &testBundle{t: t, root: people.Dir(t), tools: people.Dir(t), runs: make(chan *played, 10)}
	b.bus, b.server = bustest.NewServer(t)
	python := filepath.Join(b.tools, "python3")
	if err := os.WriteFile(python, []byte(playedPython), 0o755); err != nil {
		t.Fatal(err)
	}
	b.docker("", "")
	b.config = Config{
		Host: "a", DataDir: people.Dir(t), Roots: []string{b.root}, Python: python, Path: []string{b.tools}, Slots: 4, Timeout: time.Hour,
		RunAs: people.Caller(t), Log: slog.New(slog.DiscardHandler),
		Start: func(r exec.Run) (Process, error) {
			b.starts.Add(1)
			run := &played{
				phases: make(chan string, 10), result: make(chan exec.Result, 1), asks: make(chan json.RawMessage, 1),
				answers: make(chan string, 1), stopped: make(chan struct{}), run: r,
			}
			b.runs <- run
			return run, nil
		},
	}
	for _, change := range changes {
		change(&b.config)
	}
	var err error
	if b.worker, err = New(t.Context(), b.config); err != nil {
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
	asked := make(chan struct{})
	go func() { defer close(asked); b.reconcile(ctx) }() // as an API does with each worker that starts
	b.t.Cleanup(func() { cancel(); <-asked })
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// reconcile tells the worker which jobs are under way, as soon as it listens, and returns those of which it knew nothing.
func (b *testBundle) reconcile(ctx context.Context, ids ...string) (unknown []string) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		reply, err := b.bus.Ask(attempt, "a", "jobs", map[string]any{"jobs": ids})
		cancel()
		if err == nil {
			var answer struct{ Unknown []string }
			if err := json.Unmarshal(reply, &answer); err != nil {
				b.t.Error(err)
			}
			return answer.Unknown
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// playedPython says what the driver would say of a Netlab that is there, and to a question for a status, who asks.
const playedPython = `#!/bin/sh
case "$*" in
*query*) echo "{\"asked\": $(id -u)}";;
*) echo '{"version":"26.10","python":"3.11","script":"/bin/netlab","ansible":true}';;
esac
`

// docker has Docker list these containers and networks, a JSON object a line.
func (b *testBundle) docker(containers, networks string) {
	b.t.Helper()
	text := "#!/bin/sh\ncase $1 in ps) cat <<'END'\n" + containers + "\nEND\n;; *) cat <<'END'\n" + networks + "\nEND\n;; esac\n"
	file := filepath.Join(b.tools, "docker")
	if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o755), os.Rename(file+".new", file)); err != nil {
		b.t.Fatal(err)
	}
}

// next is the run that the worker starts next.
func (b *testBundle) next() *played {
	b.t.Helper()
	return receive(b.t, b.runs)
}

// receive takes what comes.
func receive[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(limit):
		t.Fatal("nothing comes")
	}
	return value
}

// birth is a job in the directory of its id that makes a lab of a topology which comes with it.
func (b *testBundle) birth(id string, action jobs.Action) *bus.Birth {
	return &bus.Birth{Job: jobs.Job{
		ID: id, Action: action, State: jobs.Queued, Host: "a", Workdir: filepath.Join(b.root, id), Warnings: []string{},
		CreatedAt: time.Unix(1_800_000_000, 0).UTC(), Request: jobs.Request{Action: action},
	}, Topology: "nodes: [ r1 ]"}
}

func (b *testBundle) send(birth *bus.Birth) {
	b.t.Helper()
	if _, err := b.bus.Submit(b.t.Context(), birth); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBundle) cancel(id string) {
	b.t.Helper()
	if _, err := b.bus.RequestCancel(b.t.Context(), "a", id); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBundle) submit(id string, sealed map[string]string) {
	b.t.Helper()
	birth := b.birth(id, jobs.Create)
	if sealed != nil {
		var err error
		if birth.Sealed, err = bus.SealEnvironment(sealed, b.worker.publicKey); err != nil {
			b.t.Fatal(err)
		}
	}
	b.send(birth)
}

// await waits for a state of the job on the bus.
func (b *testBundle) await(id string, ok func(*bus.JobMessage) bool) *bus.JobMessage {
	b.t.Helper()
	var last *bus.JobMessage
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		var err error
		if last, err = b.bus.LastStatus(b.t.Context(), "a", id); err == nil && ok(last) {
			return last
		}
	}
	b.t.Fatalf("job %s never got there: %+v", id, last)
	return nil
}

// eventually waits until it is so.
func (b *testBundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("never: %s", what)
}

func ended(m *bus.JobMessage) bool { return m.State.Terminal() }

// The watchdog's check does not return while something hangs that all jobs wait for.
func TestCheckWaitsForWhatHangs(t *testing.T) {
	t.Parallel()
	w := &Worker{queue: newQueue(1), journal: &journal{}}
	w.Check()
	for what, lock := range map[string]sync.Locker{"queue": &w.queue.mu, "journal": &w.journal.mu} {
		lock.Lock()
		returned := make(chan struct{})
		go func() { defer close(returned); w.Check() }()
		select {
		case <-returned:
			t.Errorf("it returns while the %s hangs", what)
		case <-time.After(100 * time.Millisecond):
		}
		lock.Unlock()
		receive(t, returned)
	}
}

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
	run.result <- exec.Result{ExitCode: 1, Error: "no correct-horse here, nor its beginning: correct-ho…"} // as the driver cuts it off
	got := b.await("j1", ended)
	if got.Error == nil || *got.Error != "no *** here, nor its beginning: …" || got.Reason != jobs.ReasonNetlabFailed {
		t.Errorf("error %v, reason %q", got.Error, got.Reason)
	}
}

// A job that somebody else has claimed or ended is not run.
func TestAClaimThatIsLost(t *testing.T) {
	t.Parallel()
	var log logged
	b := setup(t, log.into)
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
	for _, line := range []string{
		`level=INFO msg="job begins" job=free action=create`, `level=INFO msg="job ended" job=free state=success`,
		`level=INFO msg="job has ended elsewhere" job=canceled`, `level=WARN msg="job given up" job=running`,
	} {
		if !log.has(line) {
			t.Errorf("the worker's log has no %s", line)
		}
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
	want := "netlab-worker: create in " + filepath.Join(b.root, "j1") + " on host a as " + b.worker.runAs.Name + ", Netlab 26.10\n"
	if diff := cmp.Diff(want, log.String()); diff != "" || got.LogBytes != int64(len(want)) {
		t.Errorf("logBytes %d, %s", got.LogBytes, diff)
	}
}
