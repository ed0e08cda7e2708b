package exec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// warmBundle has a Netlab of its own that is kept ready, and what that logs.
type warmBundle struct {
	*bundle
	log *safeBuffer
}

func setupWarm(t *testing.T, idle time.Duration, files map[string]string) *warmBundle {
	t.Helper()
	w := &warmBundle{bundle: setup(t, files), log: &safeBuffer{}}
	w.alone(t)
	w.keep(t, idle)
	return w
}

func (w *warmBundle) keep(t *testing.T, idle time.Duration) {
	t.Helper()
	w.KeepWarm(idle, slog.New(slog.NewTextHandler(w.log, nil)))
	t.Cleanup(func() {
		w.Close()
		if t.Failed() {
			t.Logf("what the process that keeps Netlab ready gave rise to: %s", w.log)
		}
	})
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// waiter is a topology whose generation goes on while there is no file "go".
func waiter() map[string]string {
	return sleeper("  ready()\n  while not os.path.exists('go'): time.sleep(0.01)\n")
}

// begin starts a create of the waiter, and returns once it waits.
func (w *warmBundle) begin(t *testing.T) *exec.Process {
	t.Helper()
	r := w.run(t, create())
	r.Job = "job-" + filepath.Base(r.Dir)
	p := w.start(t, r)
	waitForPhase(t, p, "Chatting away")
	return p
}

func (w *warmBundle) end(t *testing.T, p *exec.Process) {
	t.Helper()
	writeFile(t, filepath.Join(w.workdir, "go"), "")
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v\n%s", result, readFile(t, w.output()))
	}
	if err := os.Remove(filepath.Join(w.workdir, "go")); err != nil {
		t.Fatal(err)
	}
}

// next runs the waiter once and returns what forked it, 0 for nothing.
func (w *warmBundle) next(t *testing.T) int {
	t.Helper()
	p := w.begin(t)
	parent := parentOf(t, p)
	w.end(t, p)
	return parent
}

// mustFork runs the waiter once, which is to be forked by another process than those.
func (w *warmBundle) mustFork(t *testing.T, not ...int) int {
	t.Helper()
	parent := w.next(t)
	if parent == 0 || slices.Contains(not, parent) {
		t.Fatalf("the driver is a child of %d: %s", parent, w.log)
	}
	return parent
}

// mustNotFork runs the waiter once, which is to be started by itself.
func (w *warmBundle) mustNotFork(t *testing.T) {
	t.Helper()
	if parent := w.next(t); parent != 0 {
		t.Errorf("the driver is a child of %d: %s", parent, w.log)
	}
}

// parentOf returns the process that forked the run's driver, 0 where this one has started it.
func parentOf(t *testing.T, p *exec.Process) int {
	t.Helper()
	parent := fieldOf(t, p.Pid(), 4)
	if parent == os.Getpid() {
		return 0
	}
	if line := cmdline(t, parent); !strings.Contains(line, "main.py warm 3 ") {
		t.Fatalf("the driver's parent is %q", line)
	}
	return parent
}

// startForked starts the run, which has to be forked.
func (b *bundle) startForked(t *testing.T, r exec.Run) *exec.Process {
	t.Helper()
	p := b.start(t, r)
	if parentOf(t, p) == 0 {
		t.Fatal("it was not forked")
	}
	return p
}

// forked runs a create that is forked to its end, and returns the process that forked it, and how many templates the run compiled.
func (b *bundle) forked(t *testing.T) (parent, compiled int) {
	t.Helper()
	r := b.run(t, create())
	r.SnapshotYAML = false
	p := b.startForked(t, r)
	parent = parentOf(t, p)
	if result := wait(t, p); result.ExitCode != 0 {
		t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
	}
	return parent, strings.Count(readFile(t, filepath.Join(r.Dir, "errors")), `"template"`)
}

// origin is a plugin that writes down where a run has the defaults from.
const origin = `
from netsim.utils import read
def init(topology):
  with open("origin.txt", "w") as f:
    f.write(read.read_from_pickle.__module__)
`

// forkedWithAll runs creates until one finds the defaults and its templates ready, and returns the process that has them. The lab
// has the plugin origin.
func (b *bundle) forkedWithAll(t *testing.T) (parent int) {
	t.Helper()
	for ctx := testContext(t); ctx.Err() == nil; {
		parent, compiled := b.forked(t)
		if compiled == 0 && readFile(t, filepath.Join(b.workdir, "origin.txt")) == "netlab_driver.ready" {
			return parent
		}
	}
	t.Fatal("the defaults and the templates do not get ready")
	return 0
}

// fieldOf is a number of the process's line in /proc, which are counted from 1.
func fieldOf(t *testing.T, pid, field int) int {
	t.Helper()
	stat := readFile(t, fmt.Sprintf("/proc/%d/stat", pid))
	n, err := strconv.Atoi(strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[field-3])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func cmdline(t *testing.T, pid int) string {
	t.Helper()
	return strings.ReplaceAll(readFile(t, fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00", " ")
}

// Whoever looks at the machine sees a driver as if it had been started by itself.
func TestForkedDriverIsOneOfItsOwn(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, waiter())
	p := w.begin(t)
	if parentOf(t, p) == 0 {
		t.Fatalf("it was not forked: %s", w.log)
	}
	if group, session := fieldOf(t, p.Pid(), 5), fieldOf(t, p.Pid(), 6); group != p.Pid() || session != p.Pid() {
		t.Errorf("process %d is in group %d of session %d", p.Pid(), group, session)
	}
	run := filepath.Dir(readLink(t, p.Pid(), "cwd") + "/x")
	if line := strings.TrimRight(cmdline(t, p.Pid()), " "); !strings.HasSuffix(line, "/main.py run "+run) {
		t.Errorf("command line %q", line)
	}
	environ := environOf(t, p.Pid())
	if job := "RUNNER_JOB=job-" + filepath.Base(run); !slices.Contains(environ, job) {
		t.Errorf("%s is not in %q", job, environ)
	}
	ofParent := environOf(t, parentOf(t, p))
	for _, variables := range [][]string{environ, ofParent} {
		if slices.Contains(variables, ownVariable+"=x") {
			t.Errorf("%q are this process's", variables)
		}
	}
	// The parent is no job's: a worker that starts would look for that.
	for _, variable := range ofParent {
		if job, ok := strings.CutPrefix(variable, "RUNNER_JOB="); ok && jobs.ValidID(job) {
			t.Errorf("the parent seems to be of job %q", job)
		}
	}
	for _, fd := range []string{"1", "2"} {
		if target := readLink(t, p.Pid(), "fd/"+fd); target != w.output() {
			t.Errorf("descriptor %s is %s", fd, target)
		}
	}
	for _, link := range links(t, p.Pid()) {
		if strings.HasPrefix(link, "socket:") {
			t.Errorf("the driver has %s", link)
		}
	}
	w.end(t, p)
}

func environOf(t *testing.T, pid int) []string {
	t.Helper()
	return strings.Split(readFile(t, fmt.Sprintf("/proc/%d/environ", pid)), "\x00")
}

func readLink(t *testing.T, pid int, name string) string {
	t.Helper()
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func links(t *testing.T, pid int) (targets []string) {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if target, err := os.Readlink(name); err == nil {
			targets = append(targets, target)
		}
	}
	return targets
}

// A parent whose end the kernel holds up holds nobody up.
func TestParentThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, nil)
	release := w.HoldEnd()
	w.Close()
	release()
	mustContain(t, w.log.String(), "does not end")
}

// The worker may end, and what keeps Netlab ready may be killed: neither hurts a run, and another worker finds it.
func TestForkedRunOutlivesItsParent(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, waiter())
	p := w.begin(t)
	parent := parentOf(t, p)
	w.Close()
	if alive(parent) {
		t.Errorf("process %d is left", parent)
	}
	later, err := exec.Attach(readLink(t, p.Pid(), "cwd"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer later.Release()
	w.end(t, p)
	if result := wait(t, later); result.ExitCode != 0 || result.Command != "create" {
		t.Errorf("%+v", result)
	}
}

// A worker that is killed closes its socket.
func TestParentEndsWithTheWorker(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	out := w.python(t, `
import os, socket, subprocess, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
parent = subprocess.Popen([sys.executable, sys.argv[1], "warm", str(theirs.fileno()), "600", "26.1", " "],
                          env=dict(os.environ, RUNNER_JOB=" "), pass_fds=[theirs.fileno()])
theirs.close()
ours.close()
print(parent.wait(60))
`, driverMain(t))
	if out != "0\n" {
		t.Error(out)
	}
}

// The worker may have given up waiting, and started the run in another way.
func TestForkThatIsNotToldToGoDoesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.run(t, create())
	out := w.python(t, `
import json, os, select, socket, subprocess, sys
main, run = sys.argv[1:]
pair = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ours, theirs = pair()
parent = subprocess.Popen([sys.executable, main, "warm", str(theirs.fileno()), "600", "26.1", " " * 999],
                          env=dict(os.environ, RUNNER_JOB=" " * 64), pass_fds=[theirs.fileno()])
own, other = pair()
with open(run + "/plan.json", "x") as f:
    json.dump({}, f)
output = os.open(run + "/output", os.O_WRONLY | os.O_CREAT)
socket.send_fds(ours, [json.dumps({"dir": run, "job": "j"}).encode()], [other.fileno(), output, os.open("/dev/null", os.O_RDONLY)])
other.close()
fork = os.pidfd_open(json.loads(own.recv(1000))["pid"])
own.close()
poll = select.poll()
poll.register(fork, select.POLLIN)
print(len(poll.poll(60_000)), sorted(os.listdir(run)), os.stat(run + "/output").st_size)
ours.close()
theirs.close()
parent.wait(60)
`, driverMain(t), r.Dir)
	if want := "1 ['output', 'plan.json'] 0\n"; out != want {
		t.Errorf("%q", out)
	}
}

func TestDeadParentIsReplaced(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, waiter())
	w.end(t, w.begin(t))
	// Nor is a driver missed that somebody has removed.
	if err := os.RemoveAll(filepath.Join(w.root, "data", "driver")); err != nil {
		t.Fatal(err)
	}
	first := w.mustFork(t)
	if err := errors.Join(syscall.Kill(first, syscall.SIGKILL), os.RemoveAll(filepath.Join(w.root, "data", "driver"))); err != nil {
		t.Fatal(err)
	}
	w.mustFork(t, first)
}

// A run does not wait for a parent that hangs, nor the ones behind it for one that may hang as well.
func TestHungParentIsReplaced(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, waiter())
	w.SetFailurePause(time.Hour)
	first := w.mustFork(t)
	for ctx := testContext(t); !w.Settled(); w.mustFork(t) {
		if ctx.Err() != nil || t.Failed() {
			t.Fatal("it does not get ready")
		}
	}
	w.SetPatience(time.Second)
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.mustNotFork(t)
	mustContain(t, w.log.String(), "a run is started without what is kept ready", "i/o timeout")
	w.mustNotFork(t)
	mustContain(t, w.log.String(), "it has failed a moment ago")
	w.SetFailurePause(0)
	w.mustFork(t, first)
	if alive(first) {
		t.Errorf("process %d is left", first)
	}
}

// Nor is one taken for hung that has still parts of Netlab to import when it has forked a run already.
func TestParentThatImportsForLongIsKept(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	copyTree(t, filepath.Join(strings.TrimSpace(readFile(t, filepath.Join(packages, "netlab.pth"))), "netsim"), packages)
	begun := filepath.Join(w.root, "begun")
	writeFile(t, filepath.Join(packages, "netsim", "devices", "slow.py"), inWarm+fmt.Sprintf(`
if warm:
  open(%q, "w").close()
  time.sleep(4)
`, begun))
	w.keep(t, time.Minute)
	w.SetPatience(100 * time.Millisecond)
	first := w.mustFork(t)
	for ctx := testContext(t); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(begun); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the parts are not imported: %s", w.log)
		}
	}
	if second := w.mustFork(t); second != first {
		t.Errorf("the first run was forked by %d, the second by %d: %s", first, second, w.log)
	}
}

// hang makes the first process that is to keep Netlab ready hang while it starts, which says its number by the link "hung".
const hang = `
import os, time
hung = os.path.join(os.path.dirname(__file__), "hung")
with open("/proc/self/cmdline", "rb") as f:
  warm = b"\0warm\0" in f.read()
if warm and not os.path.lexists(hung):
  os.symlink(str(os.getpid()), hung)
  time.sleep(600)
`

// Nor for one that hangs before it has ever answered, for longer than imports take.
func TestParentThatHangsWhileItStartsIsReplaced(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	writeFile(t, filepath.Join(packages, "hang.py"), hang)
	writeFile(t, filepath.Join(packages, "hang.pth"), "import hang\n")
	w.keep(t, time.Minute)
	first := 0
	for ctx := testContext(t); first == 0; time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("nothing hangs")
		}
		link, _ := os.Readlink(filepath.Join(packages, "hung"))
		first, _ = strconv.Atoi(link)
	}
	w.SetImportPatience(100 * time.Millisecond)
	w.SetFailurePause(time.Hour)
	w.mustNotFork(t)
	if alive(first) {
		t.Fatalf("process %d is left", first)
	}
	mustContain(t, w.log.String(), "a run is started without what is kept ready", "i/o timeout")
	w.SetImportPatience(deadline)
	w.mustNotFork(t)
	w.SetFailurePause(0)
	w.mustFork(t, first)
	if lines := strings.Count(w.log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines are logged", lines)
	}
}

// inWarm is the beginning of a module that does something in the processes that are to keep Netlab ready.
const inWarm = `
import errno, os, threading, time
with open("/proc/self/cmdline", "rb") as f:
  warm = b"\0warm\0" in f.read()
`

// spoil has each interpreter of the environment import the module.
func spoil(t *testing.T, packages, module string) {
	t.Helper()
	writeFile(t, filepath.Join(packages, "spoil.py"), inWarm+module)
	writeFile(t, filepath.Join(packages, "spoil.pth"), "import spoil\n")
}

// A fork of a process with threads may find a lock taken for ever.
func TestParentWithAThread(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	spoil(t, packages, "if warm: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n")
	w.keep(t, time.Minute)
	w.SetFailurePause(time.Hour)
	for range 2 {
		w.mustNotFork(t)
	}
	if starts := strings.Count(w.log.String(), "the process that keeps Netlab ready has ended"); starts != 1 {
		t.Errorf("%d starts: %s", starts, w.log)
	}
	mustContain(t, w.log.String(), "has started a thread")
	writeFile(t, filepath.Join(packages, "spoil.py"), "")
	w.SetFailurePause(0)
	w.mustFork(t)
}

// Nor is one that forks a run, and then ends by an error, replaced at once.
func TestParentThatEndsByAnError(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	spoil(t, packages, `
import sys
fork = os.fork
def forking():
  pid = fork()
  if pid and sys._getframe(1).f_code.co_name == "fork":
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
  return pid
if warm: os.fork = forking
`)
	w.keep(t, time.Minute)
	w.SetFailurePause(time.Hour)
	w.end(t, w.begin(t))
	w.mustNotFork(t)
	mustContain(t, w.log.String(), "has started a thread")
}

// One that cannot fork a run, or whose fork cannot begin, says so: the run does not wait, and the next one is forked.
func TestForkThatFails(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	spoil(t, packages, `
def failing(function, name, error):
  file = os.path.join(os.path.dirname(os.path.dirname(__file__)), name)
  def call(*args):
    if os.path.exists(file): raise OSError(error, os.strerror(error))
    return function(*args)
  return call
if warm: os.fork, os.chdir = failing(os.fork, "no-fork", errno.EAGAIN), failing(os.chdir, "no-chdir", errno.ENOENT)
`)
	w.keep(t, time.Minute)
	first := w.mustFork(t)
	for name, want := range map[string]string{"no-fork": "BlockingIOError", "no-chdir": "FileNotFoundError"} {
		file := filepath.Join(filepath.Dir(packages), name)
		writeFile(t, file, "")
		w.mustNotFork(t)
		mustContain(t, w.log.String(), "it cannot be forked: "+want)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if parent := w.mustFork(t); parent != first {
			t.Errorf("%s: the parent was %d and is %d: %s", name, first, parent, w.log)
		}
	}
}

func TestIdleParentEnds(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, 10*time.Millisecond, waiter())
	for range 2 {
		p := w.begin(t)
		ctx := testContext(t)
		for standins.KeepsNetlabReady(t, w.root) && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if ctx.Err() != nil {
			t.Error("Netlab is still kept ready")
		}
		w.end(t, p)
	}
	if w.log.String() != "" {
		t.Error(w.log)
	}
}

// ownEnvironment makes a virtual environment that has the project's Netlab, and returns its Python and its folder of packages.
func ownEnvironment(t *testing.T) (python, packages string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "venv")
	run := func(name string, args ...string) string {
		out, err := osexec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
	run(testPython(t), "-m", "venv", "--without-pip", dir)
	python = filepath.Join(dir, "bin", "python")
	packages = run(python, "-c", purelib)
	writeFile(t, filepath.Join(packages, "netlab.pth"), run(testPython(t), "-c", purelib)+"\n")
	return python, packages
}

// setupOwn is setupWarm with a Python of the test's own, whose folder of packages it returns. Nothing is kept ready yet.
func setupOwn(t *testing.T, files map[string]string) (w *warmBundle, packages string) {
	t.Helper()
	w = &warmBundle{bundle: setup(t, files), log: &safeBuffer{}}
	python, packages := ownEnvironment(t)
	var err error
	if w.Netlab, err = exec.Find(testContext(t), python, filepath.Join(w.root, "data")); err != nil {
		t.Fatal(err)
	}
	return w, packages
}

// A folder of packages that there was not counts, too: Python looks there before it does where Netlab is.
func TestUserSiteThatAppears(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	home := t.TempDir()
	var err error
	python := interpreter(t, t.TempDir(), "python", `HOME="`+home+`" exec `+w.Python+` "$@"`)
	if w.Netlab, err = exec.Find(testContext(t), python, filepath.Join(w.root, "data")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(packages, "..", "..", "..", "pyvenv.cfg")
	writeFile(t, config, strings.Replace(readFile(t, config), "system-site-packages = false", "system-site-packages = true", 1))
	w.keep(t, time.Minute)
	first := w.mustFork(t)
	site := filepath.Join(home, ".local", "lib", filepath.Base(filepath.Dir(packages)), "site-packages")
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	w.mustFork(t, first)
	mustContain(t, w.log.String(), "Netlab has changed", site)
}

// A parent that finds itself changed as soon as it is there, since something is being installed, is not replaced again and again.
func TestNetlabThatChangesAllTheTime(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cli/create.py", "augment/main.py", "utils/templates.py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, packages := setupOwn(t, waiter())
			copyTree(t, filepath.Join(strings.TrimSpace(readFile(t, filepath.Join(packages, "netlab.pth"))), "netsim"), packages)
			file := filepath.Join(packages, "netsim", name)
			writeFile(t, file, readFile(t, file)+"\nimport os\nos.utime(__file__)\n")
			w.keep(t, time.Minute)
			w.SetFailurePause(time.Hour)
			for range 2 {
				w.mustNotFork(t)
			}
			if n := strings.Count(w.log.String(), `msg="Netlab has changed, it is imported anew" file=`+file); n != 2 {
				t.Errorf("%d times: %s", n, w.log)
			}
		})
	}
}

// A Netlab that was found after another one has its runs forked from the same parent, unless it is another Python's.
func TestNetlabThatTakesOver(t *testing.T) {
	t.Parallel()
	w, _ := setupOwn(t, waiter())
	w.keep(t, time.Minute)
	first := w.mustFork(t)
	for _, python := range []string{w.Python, testPython(t)} {
		before := w.Netlab
		var err error
		if w.Netlab, err = exec.Find(testContext(t), python, filepath.Join(w.root, "data")); err != nil {
			t.Fatal(err)
		}
		w.TakeOver(before)
		parent := w.mustFork(t)
		if same := python == before.Python; (parent == first) != same || !strings.HasPrefix(cmdline(t, parent), python+" ") {
			t.Errorf("%s: the parent was %d and is %d, %s", python, first, parent, cmdline(t, parent))
		}
	}
	if alive(first) {
		t.Errorf("process %d is left", first)
	}
}

// What is installed while the worker runs counts for the next run.
func TestParentOfAnOldNetlabIsReplaced(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, waiter())
	w.keep(t, time.Minute)
	first := w.mustFork(t)
	if err := os.Mkdir(filepath.Join(packages, "networklab-99.1.dist-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.mustFork(t, first)
	mustContain(t, w.log.String(), "Netlab has changed", packages)
	// Nor does a folder change where another path is written into a file that is there.
	pth := filepath.Join(packages, "netlab.pth")
	writeFile(t, pth, readFile(t, pth)+"/nowhere\n")
	w.mustFork(t, first)
	mustContain(t, w.log.String(), "file="+pth)

	// One that cannot be imported any more says so as without all this, and is not tried twice for the next run.
	if err := os.Mkdir(filepath.Join(packages, "netsim"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(packages, "netsim", "__init__.py"), "raise RuntimeError('half installed')\n")
	for range 2 {
		result := w.finish(t, create())
		if result.ExitCode != 1 || !result.HostFault {
			t.Errorf("%+v", result)
		}
		mustContain(t, result.Error, "half installed")
	}
	if starts := strings.Count(w.log.String(), "the process that keeps Netlab ready has ended"); starts != 1 {
		t.Errorf("%d starts: %s", starts, w.log)
	}
}

// What somebody changes in Netlab's files counts for the next run, too. A parent has templates for as long as their texts are the same.
func TestChangedFileCounts(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, map[string]string{"topology.yml": threeRouters + "plugin: [ origin ]\n", "origin.py": origin})
	// With the modules' times, by which Python knows what it has compiled of them.
	copyTree(t, filepath.Join(strings.TrimSpace(readFile(t, filepath.Join(packages, "netlab.pth"))), "netsim"), packages)
	w.keep(t, time.Minute)
	result := func() string { return readFile(t, w.output()) + readFile(t, filepath.Join(w.workdir, "clab.yml")) }
	before := w.forkedWithAll(t)
	for _, c := range []struct {
		file, old, new, want string
		replaced             bool // the parent
	}{
		{"templates/provider/clab/clab.j2", "\nmgmt:", "\n# changed\nmgmt:", "# changed\nmgmt:", false},
		{"defaults/addressing.yml", "192.168.121.0/24", "192.168.99.0/24", "ipv4-subnet: 192.168.99.0/24", true},
		{"providers/__init__.py", `"provider configuration`, `"changed provider configuration`, "changed provider configuration file: clab.yml", true},
	} {
		file := filepath.Join(packages, "netsim", c.file)
		text := readFile(t, file)
		if strings.Count(text, c.old) != 1 || strings.Contains(result(), c.want) {
			t.Fatalf("%s is not what this test expects", c.file)
		}
		writeFile(t, file, strings.Replace(text, c.old, c.new, 1))
		after, compiled := w.forked(t)
		mustContain(t, result(), c.want)
		told := strings.Contains(w.log.String(), `msg="Netlab has changed, it is imported anew" file=`+file)
		if replaced := after != before; replaced != c.replaced || told != c.replaced {
			t.Errorf("%s: the parent was replaced: %v, the log says so: %v", c.file, replaced, told)
		}
		if !c.replaced && compiled != 1 {
			t.Errorf("%s: the run compiled %d templates", c.file, compiled)
		}
		before = after
	}
}

// A lab is not made anew for a newer Netlab, wherever that is installed, and however its run was started.
func TestFilesOfNetlabAreNoInputs(t *testing.T) {
	t.Parallel()
	w, packages := setupOwn(t, map[string]string{"topology.yml": threeRouters})
	checkout, path := t.TempDir(), filepath.Join(packages, "netlab.pth")
	there := readFile(t, path)
	copyTree(t, filepath.Join(strings.TrimSpace(there), "netsim"), checkout)
	writeFile(t, path, checkout+"\n"+there)
	w.keep(t, time.Minute)
	check := func() {
		t.Helper()
		inputs := readFile(t, filepath.Join(w.workdir, ".netlab-inputs.json"))
		mustContain(t, inputs, filepath.Join(w.workdir, "topology.yml"))
		if strings.Contains(inputs, checkout) {
			t.Error(inputs)
		}
	}
	w.forked(t)
	check()
	w.Close()
	w.mustSucceed(t, create())
	check()
}

// A run finds the same whether it has imported Netlab by itself, was forked, or was forked with all ready that there is, after others
// that have spoiled what they could.
func TestForkedRunSeesNothingOfOthers(t *testing.T) {
	t.Parallel()
	w := setupWarm(t, time.Minute, map[string]string{
		"topology.yml": threeRouters + "plugin: [ witness, origin ]\ndefaults.netlab.create.plugin: [ witness ]\n",
		"witness.py":   readFile(t, "testdata/witness.py"), "origin.py": origin,
	})
	seen := func() (all map[string]string) {
		t.Helper()
		if spoiled := readFile(t, filepath.Join(w.workdir, "spoiled")); spoiled != "all that there is\n" {
			t.Errorf("the run has spoiled %q", spoiled)
		}
		if err := json.Unmarshal([]byte(readFile(t, filepath.Join(w.workdir, "seen.json"))), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	w.forked(t)
	forked := seen()
	w.forkedWithAll(t)
	ready := seen()
	w.Close()
	w.mustSucceed(t, create())
	alone := seen()
	if diff := cmp.Diff(alone, forked); diff != "" {
		t.Errorf("by itself, and forked:\n%s", diff)
	}
	if diff := cmp.Diff(alone, ready); diff != "" {
		t.Errorf("by itself, and forked with all ready:\n%s", diff)
	}
}

// A Netlab that nobody has compiled yet is not one that has changed once it is imported.
func TestNetlabThatIsNotCompiled(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
import importlib.util, os, shutil, sys, tempfile
from netlab_driver.ready import Ready

there = os.path.dirname(importlib.util.find_spec("netsim").origin)
with tempfile.TemporaryDirectory() as folder:
    shutil.copytree(there, f"{folder}/netsim", ignore=shutil.ignore_patterns("__pycache__"))
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.split(".")[0] == "netsim"]:
        del sys.modules[name]
    ready = Ready()
    assert ready.folder.startswith(os.path.realpath(folder)), ready.folder
    ready.load_parts()
    assert not ready.changed(), ready.changed()
`)
}

// A file that is replaced when it was read, while others are imported, is one that has changed.
func TestFileThatIsReplacedWhileItIsImported(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, c := range map[string]struct{ file, code, changed string }{
		"a command": {"cli/create.py", "os.utime(__file__)", "/netsim/cli/create.py"},
		"a part":    {"devices/frr.py", "os.utime(__file__)", "/netsim/devices/frr.py"},
		"a package": {"cli/create.py", "os.mkdir(os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + '/networklab-99.1.dist-info')", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.driver(t, `
import importlib.util, os, shutil, sys, tempfile
from netlab_driver import ready

file, code, changed = sys.argv[2:]
there = os.path.dirname(importlib.util.find_spec("netsim").origin)
with tempfile.TemporaryDirectory() as folder:
    folder = os.path.realpath(folder)
    shutil.copytree(there, f"{folder}/netsim", ignore=shutil.ignore_patterns("__pycache__"))
    with open(f"{folder}/netsim/{file}", "a") as f:
        f.write(f"\nimport os\n{code}\n")
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.split(".")[0] == "netsim"]:
        del sys.modules[name]
    held = ready.Ready()
    held.load_parts()
    assert held.changed() == folder + changed, held.changed()
`, c.file, c.code, c.changed)
		})
	}
}

// What a run's user makes up of templates costs the runs of others no more than a few of theirs.
func TestTemplatesThatARunMakesUp(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
import glob, os
from netlab_driver import ready, templates

held = ready.Ready()
heard = next(iter(held.sources))
held.chores.clear()
os.set_blocking(heard, False)

def told(pairs):
    """What is to be compiled of what a run tells that was forked just now."""
    known = dict(held.templates.known)
    held.untold = ready.RUN_LIMIT
    held.tell(pairs)
    held.templates.known = known
    try:
        held.hear(heard)
    except BlockingIOError:
        pass
    chores = [chore.args for chore in held.chores]
    held.chores.clear()
    return chores

own = [(os.path.basename(path), path) for path in sorted(glob.glob(f"{held.folder}/**/*.j2", recursive=True))]
assert len(own) > ready.RUN_LIMIT + 10, len(own)
made_up = [(f"{n}.j2", f"{held.folder}/{n}.j2") for n in range(5000)]
made_up += [("create.py", f"{held.folder}/cli/create.py"), ("passwd.j2", "/etc/passwd.j2"), ("templates", f"{held.folder}/templates")]
for begin in range(0, len(made_up), 100):
    assert told(made_up[begin : begin + 100]) == []
assert told(own[:5]) == own[:5]
assert told(own[:6]) == own[5:6]
assert told(own) == own[6 : 6 + ready.RUN_LIMIT]

# Where there is no room for all, the oldest ones go.
templates.LIMIT = 10
held.templates.known.clear()
clab = [template for template in own if "/templates/provider/clab/" in template[1]][:12]
for template in clab:
    assert held.templates.wants(*template)
    held.templates.compile(*template)
assert list(held.templates.known) == clab[2:]
assert len(held.templates.codes) == 10, len(held.templates.codes)
assert told(clab[:1]) == clab[:1]
held.templates.compile(*clab[2])
assert len(held.templates.codes) == 9, len(held.templates.codes)
`)
}

// The script beside Netlab is that of whoever has started the interpreter, whose Netlab it is, also once a command runs as somebody else.
func TestScriptOfAnotherHome(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"pass", "inputs.installed()"} {
		setup(t, nil).driver(t, `
import os
from netlab_driver import inputs, install

os.access = lambda path, mode: path.endswith("/.local/bin/netlab")
own = os.path.expanduser("~/.local/bin/netlab")
`+first+`
os.environ["HOME"] = "/somebody/else"
assert install.find_script() == own, install.find_script()
`)
	}
}

// What a parent cannot prepare, of a Netlab that is another one say, or for want of memory, its runs do without.
func TestDefaultsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
import pickle
from netlab_driver import ready
from netsim.utils import read

def failed():
    raise AttributeError("there is no such function")

def killed():
    return pickle.dumps({"half": "of them"})[:-9]

held = ready.Ready()
for ready.read_defaults in failed, killed:
    held.attempt(held.load_defaults)
    reading, take = held.sources.popitem()
    held.sources[reading] = take
    held.attempt(take, reading)
    assert read.read_from_pickle("package:topology-defaults.yml") is None
`)
}
