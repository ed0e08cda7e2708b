package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/asroot"
	"netlab-runner/test/people"
)

// deaf mounts a file system at dir that answers nothing, until answer takes it away.
func deaf(t *testing.T, dir string) (answer func()) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine has no FUSE, of which a file system that hangs is made here: %v", err)
	}
	if err := unix.Mount("deaf", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		_ = unix.Close(fd)
		asroot.Missing(t, "nothing can be mounted here: %v", err)
	}
	answer = sync.OnceFunc(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = unix.Close(fd) // what waits gets an error, and what comes then finds the directory
	})
	t.Cleanup(answer)
	return answer
}

// A working directory that does not answer holds up no job of another one, neither as its request comes nor at a start.
func TestAWorkingDirectoryThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	root := people.Dir(t)
	b := setup(t, func(c *Config) { c.Slots, c.Roots = 1, append([]string{root}, c.Roots...) })
	deaf(t, root)
	answer := deaf(t, filepath.Join(b.root, "deaf"))
	submit := func(id, dir string) {
		birth := b.birth(id, jobs.Create)
		birth.Workdir = filepath.Join(b.root, dir)
		b.send(birth)
	}
	before := b.birth("before", jobs.Create)
	before.Workdir = filepath.Join(b.root, "deaf", "lab")
	b.send(before)
	_, _, err := b.worker.journal.add(before, 1, false)
	must(t, err)
	b.run()
	order := []string{"j1", "j2", "j3", "j4", "j5"}
	for _, id := range order {
		submit(id, "deaf")
	}
	submit("other", "other")
	b.next().result <- exec.Result{}
	wantEnd(t, b.await("other", ended), jobs.Success, "")
	if _, waiting := b.worker.queue.counts(); waiting != 6 {
		t.Errorf("%d are waiting", waiting)
	}
	answer()
	var ran []string
	for range 6 {
		run := b.next()
		ran = append(ran, run.run.Job)
		run.result <- exec.Result{}
	}
	ran = slices.DeleteFunc(ran, func(id string) bool { return id == "before" }) // of another path
	if !slices.Equal(ran, order) {
		t.Errorf("in the order %v", ran)
	}
	for _, id := range append(order, "before") {
		b.await(id, ended)
	}
}

// What has hung holds up a start once, however many jobs wait for it.
func TestManyJobsOfADirectoryThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	answer := deaf(t, filepath.Join(b.root, "deaf"))
	for i := range 200 {
		birth := b.birth(fmt.Sprintf("j%d", i), jobs.Create)
		birth.Workdir = filepath.Join(b.root, "deaf", fmt.Sprint(i%2))
		_, _, err := b.worker.journal.add(birth, 1, false)
		must(t, err)
	}
	b.worker.bus = b.bus
	entries, _, err := b.worker.journal.load(b.config.Log)
	must(t, err)
	tasks := make([]*task, len(entries))
	for i, e := range entries {
		tasks[i] = newTask(e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	b.worker.enqueue(ctx, tasks[:100]...)
	for _, task := range tasks[100:] {
		b.worker.enqueue(ctx, task)
	}
	if took := time.Since(began); took > 60*whereAtOnce {
		t.Errorf("it took %s", took)
	}
	cancel()
	b.worker.running.Wait()
	answer()
}

// After the bus has lost its store its sequences begin anew, and the order of arrival stays.
func TestOrderBehindALoss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	take := func(id string, seq uint64) {
		t.Helper()
		b.worker.bus = b.bus
		b.worker.queue.close()
		b.worker.hold(time.Now().Add(time.Hour))
		must(t, b.worker.take(t.Context(), b.birth(id, jobs.Up), seq))
	}
	take("first", 500)
	take("second", 501)
	take("behind", 3)
	must(t, b.restart())
	entries, _, err := b.worker.journal.load(b.config.Log)
	must(t, err)
	take("last", 4)
	var ids []string
	for _, e := range b.worker.journal.list() {
		ids = append(ids, e.Birth.ID)
	}
	if want := []string{"first", "second", "behind", "last"}; !slices.Equal(ids, want) || len(entries) != 3 {
		t.Errorf("%v, want %v", ids, want)
	}
}

// goesOn leaves a run that goes on, in the directory dir, until the function that it returns is called.
func (b *testBundle) goesOn(birth *bus.Birth, dir string) (end func()) {
	b.t.Helper()
	must(b.t, os.MkdirAll(dir, 0o755))
	gate := filepath.Join(b.tools, birth.ID)
	b.leave(birth, &scene{Who: *b.worker.runAs, Dir: dir},
		"while [ ! -e "+gate+" ]; do sleep 0.02; done; echo '{\"exitCode\":0}' > result.json", nil)
	return func() {
		b.t.Helper()
		must(b.t, os.WriteFile(gate, nil, 0o600))
	}
}

// waits says that the job has not begun though one beside it, which came behind it, has ended.
func (b *testBundle) waits(id string) {
	b.t.Helper()
	b.send(b.birth("beside", jobs.Up))
	b.next().result <- exec.Result{}
	b.await("beside", ended)
	if last, err := b.bus.LastStatus(b.t.Context(), "a", id); !errors.Is(err, bus.ErrNotFound) {
		b.t.Errorf("it begins: %+v, %v", last, err)
	}
}

// A run that a worker finds has the directory where it began to itself, wherever the path of its job leads by now.
func TestAPathIsTurnedAwayFromARun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	b.send(birth)
	real, other := filepath.Join(b.root, "real"), filepath.Join(b.root, "other")
	must(t, os.Mkdir(other, 0o755), os.Symlink(other, birth.Workdir))
	end := b.goesOn(birth, real)
	b.run()
	next := b.birth("next", jobs.Up)
	next.Workdir = real
	b.send(next)
	b.waits("next")
	end()
	b.next().result <- exec.Result{}
	b.await("next", ended)
	wantEnd(t, b.await("j1", ended), jobs.Success, "")
}

// At a start a run that goes on is before what waits for its directory: a job that came earlier, by a path that leads there by now, or one whose
// record is torn.
func TestARunThatGoesOnIsFirst(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*testBundle, *bus.Birth){
		"earlier": func(b *testBundle, waits *bus.Birth) {
			waits.Workdir = filepath.Join(b.root, "link")
			must(b.t, os.Symlink(filepath.Join(b.root, "j1"), waits.Workdir))
			b.send(waits)
			_, _, err := b.worker.journal.add(waits, 0, false)
			must(b.t, err)
		},
		"torn": func(b *testBundle, waits *bus.Birth) {
			waits.Workdir = filepath.Join(b.root, "j1")
			b.send(waits)
			e, _, err := b.worker.journal.add(waits, 0, false)
			must(b.t, err, os.WriteFile(filepath.Join(e.dir, requestFile), []byte(`{"birth":`), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth("j1", jobs.Up)
			b.send(birth)
			end := b.goesOn(birth, birth.Workdir)
			leave(b, b.birth("waits", jobs.Up))
			must(t, b.restart())
			b.run()
			b.waits("waits")
			end()
			wantEnd(t, b.await("j1", ended), jobs.Success, "")
			b.next().result <- exec.Result{}
			b.await("waits", ended)
		})
	}
}

// A run that goes on needs no slot: it is followed, and canceled, also where another job has the last one.
func TestARunThatGoesOnNeedsNoSlot(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Slots = 1 })
	for _, id := range []string{"j1", "j2"} {
		birth := b.birth(id, jobs.Up)
		b.send(birth)
		b.goesOn(birth, birth.Workdir)
	}
	early := b.birth("early", jobs.Up)
	b.send(early)
	_, _, err := b.worker.journal.add(early, 0, false)
	must(t, err, b.restart())
	b.run()
	for _, id := range []string{"j1", "j2"} {
		b.await(id, func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	}
	for _, id := range []string{"j1", "j2"} {
		b.cancel(id)
		wantEnd(t, b.await(id, ended), jobs.Canceled, jobs.ReasonCanceled)
	}
	b.next().result <- exec.Result{}
	b.await("early", ended)
}

// A job whose symlink was turned while it waited keeps its place before those of the directory that it leads to now.
func TestOrderBehindATurnedSymlink(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Slots = 1 })
	b.run()
	b.submit("j0", nil)
	first := b.next()
	one, two, link := filepath.Join(b.root, "one"), filepath.Join(b.root, "two"), filepath.Join(b.root, "link")
	must(t, os.Mkdir(one, 0o755), os.Mkdir(two, 0o755), os.Symlink(one, link))
	submit := func(id string, waiting int) {
		birth := b.birth(id, jobs.Up)
		birth.Workdir = link
		b.send(birth)
		b.eventually("it waits", func() bool {
			_, n := b.worker.queue.counts()
			return n == waiting
		})
	}
	submit("j1", 1)
	must(t, os.Remove(link), os.Symlink(two, link))
	submit("j2", 2)
	first.result <- exec.Result{}
	for _, id := range []string{"j1", "j2"} {
		run := b.next()
		if run.run.Job != id {
			t.Errorf("%s runs, want %s", run.run.Job, id)
		}
		run.result <- exec.Result{}
	}
	b.await("j2", ended)
}

// A run whose working directory does not answer any more is stopped, and its job ends.
func TestARunWhoseDirectoryDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timeout int
		stop    func(*testBundle)
	}{
		"canceled":  {0, func(b *testBundle) { b.cancel("j1") }},
		"timed out": {10, func(*testBundle) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.run()
			birth := b.birth("j1", jobs.Up)
			birth.Request.TimeoutSeconds = test.timeout
			b.send(birth)
			run := b.next()
			next := b.birth("next", jobs.Up)
			next.Workdir = birth.Workdir
			b.send(next)
			b.eventually("the next one waits for the directory", func() bool {
				b.worker.queue.mu.Lock()
				defer b.worker.queue.mu.Unlock()
				return len(b.worker.queue.waiting) == 1
			})
			answer := deaf(t, birth.Workdir)
			test.stop(b)
			receive(t, run.stopped)
			if state := b.await("j1", ended).State; state != jobs.Canceled && state != jobs.Failed {
				t.Error(state)
			}
			// What is left to do for the first is done before the next one begins, which it would within this time.
			for end := time.Now().Add(4 * whereAtOnce); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err := b.bus.LastStatus(t.Context(), "a", "next"); !errors.Is(err, bus.ErrNotFound) {
					t.Fatalf("the next job was claimed: %v", err)
				}
			}
			answer()
			b.next().result <- exec.Result{}
			b.await("next", ended)
		})
	}
}

// What a job does in its working directory is over before the next job of the directory begins, also where it has hung beyond the end of its
// job. It takes no slot.
func TestWhatHangsKeepsItsDirectory(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Slots = 1 })
	// What follows the directory: nothing but the test lets it go on.
	b.worker.netlab = &installation{python: b.config.Python, dataDir: b.config.DataDir, log: b.config.Log}
	b.worker.netlab.looking.Lock()
	goOn := sync.OnceFunc(b.worker.netlab.looking.Unlock)
	t.Cleanup(goOn)
	b.run()
	for _, id := range []string{"j1", "j2", "other"} {
		birth := b.birth(id, jobs.Up)
		if id == "j2" {
			birth.Workdir = filepath.Join(b.root, "j1")
		}
		b.send(birth)
	}
	begins := func(m *bus.JobMessage) bool { return m.State == jobs.Running }
	b.eventually("the directory of the first is ready", func() bool {
		_, err := os.Stat(filepath.Join(b.root, "j1", topologyFile))
		return err == nil
	})
	b.cancel("j1")
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled)
	b.await("other", begins)
	if last, err := b.bus.LastStatus(t.Context(), "a", "j2"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the next one begins: %+v, %v", last, err)
	}
	goOn()
	for range 2 {
		b.next().result <- exec.Result{}
	}
	b.await("other", ended)
	b.await("j2", ended)
}

// failOnce has the first try to find a run fail, once ready is closed, for a reason that passes.
func (b *testBundle) failOnce(ready <-chan struct{}) {
	attach := b.worker.attach
	var tries atomic.Int32
	b.worker.attach = func(dir, job string) (*exec.Process, error) {
		if tries.Add(1) == 1 {
			<-ready
			return nil, unix.EMFILE
		}
		return attach(dir, job)
	}
}

// A run that cannot be found for now is no run that is not there: it is stopped when it is found, and its job ends behind that.
func TestCancelOfARunThatIsNotFoundAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	b.send(birth)
	l := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "exec sleep 600", nil)
	ready := make(chan struct{})
	close(ready)
	b.failOnce(ready)
	b.cancel("j1")
	b.run()
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled)
	if err := unix.Kill(l.process.Process.Pid, 0); err == nil {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.process.Process.Pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("the run lives: %s", stat)
		}
	}
}

// The log of a run that cannot be found for now has not ended: what waits for the rest of a rune, or of a secret, waits on.
func TestTheLogOfARunThatIsNotFoundAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	b.send(birth)
	gate := filepath.Join(b.root, "gate")
	l := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir},
		"while [ ! -e "+gate+" ]; do sleep 0.02; done; echo '{\"exitCode\":0}' > result.json", nil)
	output := filepath.Join(filepath.Dir(l.dir), outputFile)
	must(t, os.WriteFile(output, []byte("line one\nhalf \xc3"), 0o600))
	ready := make(chan struct{})
	b.failOnce(ready)
	b.run()
	b.eventually("the log begins", func() bool {
		chunk, err := b.bus.LastChunk(t.Context(), "a", "j1")
		return err == nil && strings.HasSuffix(string(chunk.Text), "half ")
	})
	close(ready)
	b.eventually("the try is over", func() bool { return len(b.worker.live.all()) == 0 })
	f, err := os.OpenFile(output, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("\xa4 end\n")
	must(t, err, f.Close(), os.WriteFile(gate, nil, 0o600))
	wantEnd(t, b.await("j1", ended), jobs.Success, "")
	var log strings.Builder
	must(t, b.bus.ReadLog(t.Context(), "a", "j1", func(c *bus.Chunk) error { log.Write(c.Text); return nil }))
	if log.String() != "line one\nhalf ä end\n" {
		t.Errorf("%q", log.String())
	}
}

// Of an output that was cut the log keeps its place, also where the bus has lost what was before it.
func TestTheBaseOfALogThatTheBusHasLost(t *testing.T) {
	t.Parallel()
	b, _ := bustest.NewServer(t)
	file := filepath.Join(t.TempDir(), "output")
	must(t, os.WriteFile(file, []byte("behind the cut\n"), 0o600), saveOffset(file+baseSuffix, 100))
	over := make(chan struct{})
	close(over)
	s := newSpool(b, "a", "j", file, nil, 0)
	must(t, s.keep(t.Context(), over, true, slog.New(slog.DiscardHandler)))
	var at []int64
	must(t, b.ReadLog(t.Context(), "a", "j", func(c *bus.Chunk) error { at = append(at, c.Offset); return nil }))
	if len(at) != 1 || at[0] != 100 {
		t.Errorf("chunks at %d", at)
	}
	if stands, err := s.stands(t.Context()); err != nil || !stands {
		t.Errorf("stands: %t, %v", stands, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	must(t, os.WriteFile(empty, nil, 0o600), saveOffset(empty+baseSuffix, 100))
	s = newSpool(b, "a", "none", empty, nil, 0)
	must(t, s.keep(t.Context(), over, true, slog.New(slog.DiscardHandler)))
	if stands, err := s.stands(t.Context()); err != nil || !stands {
		t.Errorf("of a log of nothing: %t, %v", stands, err)
	}
}
