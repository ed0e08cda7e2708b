package worker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

func wantEnd(t *testing.T, got *bus.JobMessage, state jobs.State, reason jobs.Reason, words ...string) {
	t.Helper()
	if got.State != state || got.Reason != reason {
		t.Errorf("the job is %s for %q, want %s for %q", got.State, got.Reason, state, reason)
	}
	text := ""
	if got.Error != nil {
		text = *got.Error
	}
	wantWords(t, text, words...)
}

func TestCancelOfARunningJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	run := b.next()
	b.cancel("j1")
	receive(t, run.stopped)
	got := b.await("j1", ended)
	// What is left, and what to do next.
	wantEnd(t, got, jobs.Canceled, jobs.ReasonCanceled, "canceled", "no lab in "+filepath.Join(b.root, "j1"), "`up` starts it")
	if !got.CancelRequested || got.ExitCode != nil {
		t.Errorf("cancelRequested %v, exit code %v", got.CancelRequested, got.ExitCode)
	}
	b.wantEmptyJournal()
	// The directory is free again.
	b.submit("j2", nil)
	b.next().result <- exec.Result{}
	if got := b.await("j2", ended); got.CancelRequested {
		t.Error("another job says that it was canceled")
	}
}

// wantEmptyJournal waits until the journal has forgotten every job.
func (b *testBundle) wantEmptyJournal() {
	b.t.Helper()
	var left []string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if left, err = filepath.Glob(filepath.Join(b.worker.journal.dir, "*")); err != nil {
			b.t.Fatal(err)
		}
		b.worker.labs.mu.Lock()
		claims := len(b.worker.labs.claims)
		b.worker.labs.mu.Unlock()
		if len(left) == 0 && claims == 0 && len(b.worker.live.all()) == 0 {
			return
		}
	}
	b.t.Fatalf("left: %v, claims: %v, runs: %v", left, b.worker.labs.claims, b.worker.live.all())
}

func TestCancelOfARunThatEndsWell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	run := b.next()
	run.stop = func() error { run.result <- exec.Result{}; return nil }
	b.cancel("j1")
	got := b.await("j1", ended)
	wantEnd(t, got, jobs.Success, "")
	if !got.CancelRequested || got.Error != nil {
		t.Errorf("cancelRequested %v, error %v", got.CancelRequested, got.Error)
	}
}

func TestCancelThatLeavesProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	run := b.next()
	// Among them the driver, which never ends.
	run.stop = func() error { return &exec.LeftError{Left: []string{"123 (containerlab)", "4 (python3)"}} }
	b.cancel("j1")
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled, "123 (containerlab), 4 (python3)", "for root to end")
	b.wantEmptyJournal()
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	birth := b.birth("j1", jobs.Up)
	birth.Request.TimeoutSeconds = 1
	b.send(birth)
	receive(t, b.next().stopped)
	got := b.await("j1", ended)
	wantEnd(t, got, jobs.Failed, jobs.ReasonTimeout, "timeout of 1s", "no lab in")
	if got.CancelRequested {
		t.Error("it says that it was canceled")
	}
	// One that only looks has not seen all, whatever it ends with.
	birth = b.birth("j2", jobs.Status)
	birth.Request.TimeoutSeconds = 1
	b.send(birth)
	run := b.next()
	run.stop = func() error { run.result <- exec.Result{}; return nil }
	wantEnd(t, b.await("j2", ended), jobs.Failed, jobs.ReasonTimeout, "timeout of 1s")
}

// Before the driver starts: while the topology is fetched, and while another job decides.
func TestCancelBeforeTheRun(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.URLNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	asked := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	b.run()
	fetching := b.birth("fetching", jobs.Up)
	fetching.Topology, fetching.SealedURL = "", b.sealURL(s.URL)
	b.send(fetching)
	receive(t, asked)
	b.cancel("fetching")
	slow := b.birth("slow", jobs.Up)
	slow.Topology, slow.SealedURL = "", b.sealURL(s.URL+"/t.yml?token=hunter2")
	slow.Request.TopologyURL, slow.Request.TimeoutSeconds = s.URL+"/t.yml", 1
	b.send(slow)

	b.worker.labs.deciding <- struct{}{}
	deciding := b.birth("deciding", jobs.Up)
	deciding.Request.Plugin = []string{"multilab"}
	b.send(deciding)
	b.await("deciding", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	b.cancel("deciding")
	for _, id := range []string{"fetching", "deciding"} {
		got := b.await(id, ended)
		wantEnd(t, got, jobs.Canceled, jobs.ReasonCanceled, "canceled before Netlab began")
		if !got.CancelRequested {
			t.Errorf("%s does not say that it was canceled", id)
		}
	}
	wantEnd(t, b.await("slow", ended), jobs.Failed, jobs.ReasonTimeout, "timeout of 1s", "see whether "+s.URL+"/t.yml, "+slow.Workdir)
	<-b.worker.labs.deciding
	b.wantEmptyJournal()
	if n := b.starts.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// A working directory that hangs is of no consequence for others, nor for the end of its job.
func TestCancelWhileTheWorkingDirectoryHangs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	b.worker.netlab = &installation{python: filepath.Join(b.tools, "hangs"), dataDir: b.config.DataDir, log: b.config.Log}
	b.worker.netlab.looking.Lock() // what follows the directory: nothing but the end of the test lets it go on
	t.Cleanup(b.worker.netlab.looking.Unlock)
	b.run()
	b.submit("j1", nil)
	late := b.birth("late", jobs.Up)
	late.Request.TimeoutSeconds = 1
	b.send(late)
	b.await("j1", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	b.cancel("j1")
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled)
	wantEnd(t, b.await("late", ended), jobs.Failed, jobs.ReasonTimeout, "timeout of 1s", late.Workdir)
	b.wantEmptyJournal()
}

// left is a run that a worker before this one has left: a process, and the files of its directory.
type left struct {
	dir     string
	process *osexec.Cmd
}

// leave puts a job into the journal whose run an earlier worker has begun. The script plays its driver, in its directory.
func (b *testBundle) leave(birth *bus.Birth, s *scene, script string, files map[string]string) *left {
	b.t.Helper()
	e, _, err := b.worker.journal.add(birth, 1, false)
	if err != nil {
		b.t.Fatal(err)
	}
	if s != nil {
		must(b.t, e.saveScene(*s))
	}
	dir, err := e.nextRun()
	if err != nil {
		b.t.Fatal(err)
	}
	l := &left{dir: dir, process: osexec.Command("sh", "-c", "read -r _ || :; "+script)}
	l.process.Dir = dir
	// It is there until what is noted of it was read.
	stdin, goOn, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer goOn.Close()
	l.process.Stdin = stdin
	must(b.t, l.process.Start(), stdin.Close())
	gone := make(chan struct{})
	go func() { // else its end is not seen
		defer close(gone)
		_ = l.process.Wait()
	}()
	b.t.Cleanup(func() {
		_ = l.process.Process.Kill()
		<-gone
	})
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.process.Process.Pid), "stat"))
	if err != nil {
		b.t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		b.t.Fatal(err)
	}
	started, err := strconv.Atoi(strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[19])
	if err != nil {
		b.t.Fatal(err)
	}
	fence, err := json.Marshal(map[string]any{"pid": l.process.Process.Pid, "start": started, "boot": strings.TrimSpace(string(boot))})
	if err != nil {
		b.t.Fatal(err)
	}
	plan := `{"job":"` + birth.ID + `"}`
	for name, content := range files {
		must(b.t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	must(b.t, os.WriteFile(filepath.Join(dir, "plan.json"), []byte(plan), 0o644), os.WriteFile(filepath.Join(dir, "driver.json"), fence, 0o644))
	return l
}

// obedient ends by SIGINT, with the result of a run that was stopped.
const obedient = `trap 'echo "{\"exitCode\":130,\"error\":\"interrupted\",\"stopped\":true}" > new; mv new result.json; exit 0' INT
touch ready
while :; do sleep 0.05; done`

func (l *left) awaitReady(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(l.dir, "ready")); err == nil {
			return
		}
	}
	t.Fatal("the played driver is not ready")
}

func TestCancelWhileTheWorkerWasAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	s := &scene{Who: *b.worker.runAs, Dir: birth.Workdir}
	b.leave(birth, s, obedient, nil).awaitReady(t)
	// One that has not begun.
	begun := b.birth("j2", jobs.Up)
	if _, _, err := b.worker.journal.add(begun, 2, false); err != nil {
		t.Fatal(err)
	}
	b.cancel("j1")
	b.cancel("j2")
	b.run()
	got := b.await("j1", ended)
	wantEnd(t, got, jobs.Canceled, jobs.ReasonCanceled, "stopped, because it was canceled", "no lab in")
	if !got.CancelRequested {
		t.Error("it does not say that it was canceled")
	}
	wantEnd(t, b.await("j2", ended), jobs.Canceled, jobs.ReasonCanceled, "before Netlab began")
	if _, err := os.Stat(begun.Workdir); err == nil {
		t.Error("a directory was made for a job that was canceled before")
	}
	if n := b.starts.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// The worker ended in the midst of a stop: the run that it has stopped is canceled all the same.
func TestCancelThatTheWorkerDidNotSeeTheEndOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		canceld bool
		state   jobs.State
		reason  jobs.Reason
	}{
		{"canceled", true, jobs.Canceled, jobs.ReasonCanceled},
		{"by somebody else", false, jobs.Failed, jobs.ReasonNetlabFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth("j1", jobs.Up)
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, obedient, nil)
			run.awaitReady(t)
			must(t, run.process.Process.Signal(os.Interrupt))
			for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(filepath.Join(run.dir, "result.json")); err == nil || time.Now().After(end) {
					break
				}
			}
			if test.canceld {
				b.cancel("j1")
			}
			b.run()
			wantEnd(t, b.await("j1", ended), test.state, test.reason)
		})
	}
}

// Entries of the journal that an earlier version has made, or that are torn.
func TestAScenelessEntry(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"none": "", "garbage": "{", "empty": "{}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth("j1", jobs.Up)
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			run := b.leave(birth, nil, "sleep 0.1", map[string]string{"result.json": `{"exitCode":0}`})
			if content != "" {
				must(t, os.WriteFile(filepath.Join(filepath.Dir(run.dir), sceneFile), []byte(content), 0o600))
			}
			b.run()
			wantEnd(t, b.await("j1", ended), jobs.Success, "")
		})
	}
}

// A request that nobody has heard, and that could not be asked for at once, is found as soon as the stream is asked again.
func TestCancelThatWasNotHeard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	ctx, hush := b.worker.listen(t.Context(), "j1")
	defer hush()
	b.cancel("j1")
	b.worker.cancels.again()
	receive(t, ctx.Done())
	if cause := context.Cause(ctx); !errors.Is(cause, errCanceled) {
		t.Errorf("it ended for %v", cause)
	}
	// One that is there already is known from the start, and other jobs are left alone.
	other, hushOther := b.worker.listen(t.Context(), "j2")
	defer hushOther()
	again, hushAgain := b.worker.listen(t.Context(), "j1")
	defer hushAgain()
	if again.Err() == nil || other.Err() != nil {
		t.Errorf("%v, %v", again.Err(), other.Err())
	}
}

// A job that waits for others to decide, with its driver's question, ends at once.
func TestCancelOfAJobThatAsks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.worker.labs.deciding <- struct{}{}
	b.submit("j1", nil)
	run := b.next()
	run.asks <- question(t, "default", "clab-x-r1")
	for end := time.Now().Add(limit); len(run.asks) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	b.cancel("j1")
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled)
	if len(run.answers) > 0 {
		t.Errorf("the answer is %q", <-run.answers)
	}
	<-b.worker.labs.deciding
	b.wantEmptyJournal()
}
