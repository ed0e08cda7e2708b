package exec_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
	"netlab-runner/test/people"
)

// deaf is what every process of these tests begins with: it ends by SIGKILL alone.
const deaf = "import ctypes, os, signal, subprocess, sys, threading, time\n" +
	"signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"

// brood is a plugin that starts processes which try to get away, each in its own way, and writes their numbers.
const brood = `
import os, signal, subprocess, sys, time
from netsim.utils import log
DEAF = ` + "'''" + deaf + "'''" + `
def born(name):
  end = time.time() + 60
  while not os.path.exists(name + ".pid") and time.time() < end: time.sleep(0.005)
def script(name, body="time.sleep(600)"):
  return DEAF + f"with open('{name}.tmp', 'w') as f: f.write(str(os.getpid()))\nos.rename('{name}.tmp', '{name}.pid')\n" + body
def child(name, body="time.sleep(600)", **options):
  subprocess.Popen([sys.executable, "-c", script(name, body)], **options)
  born(name)
def daemon(name, body="time.sleep(600)", env=None):
  # Its parent is gone and so is its session, twice.
  double = f"import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\nos.setsid()\nexec(sys.argv[1])"
  subprocess.run([sys.executable, "-c", double, script(name, body)], env=env)
  born(name)
def init(topology):
  child("plain")
  child("group", preexec_fn=os.setpgrp)
  child("session", start_new_session=True)
  daemon("daemon")
  daemon("bare", env={})
  # Its first thread has ended, so it looks like a zombie.
  child("headless", "threading.Thread(target=lambda: time.sleep(600)).start(); ctypes.CDLL(None).pthread_exit(0)", start_new_session=True)
  child("halted", "os.kill(os.getpid(), signal.SIGSTOP)")
  log.section_header("Chatting", "away")
  time.sleep(600)
`

// mustBeDead fails if one of the brood lives.
func mustBeDead(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if state := stateOf(broodling(t, dir, name)); state != "" && !strings.HasPrefix(state, "Z") {
			t.Errorf("%s lives: %s", name, state)
		}
	}
}

func broodling(t *testing.T, dir, name string) int {
	t.Helper()
	pid, err := strconv.Atoi(readFile(t, filepath.Join(dir, name+".pid")))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// stateOf returns a process's state with its number of threads, "" where it is gone.
func stateOf(pid int) string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	if fields[0] == "Z" && fields[17] != "1" && fields[17] != "0" {
		return "L " + fields[17] // of its threads only the first has ended
	}
	return fields[0]
}

func newBrood(t *testing.T) (*bundle, exec.Run) {
	t.Helper()
	b := setup(t, map[string]string{"topology.yml": threeRouters + "plugin: [ chatter ]\n", "chatter.py": brood})
	r := b.run(t, create())
	r.Job = strings.ReplaceAll(t.Name()+"-"+filepath.Base(r.Dir), "/", "-")
	t.Cleanup(func() { // whatever the test has found
		names, _ := filepath.Glob(filepath.Join(b.workdir, "*.pid"))
		for _, name := range names {
			if pid := broodling(t, b.workdir, strings.TrimSuffix(filepath.Base(name), ".pid")); stateOf(pid) != "" {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return b, r
}

func soon() exec.StopOptions {
	return exec.StopOptions{Grace: exec.Grace{Interrupt: 200 * time.Millisecond, Terminate: 200 * time.Millisecond, Kill: patient}}
}

func TestStopFindsWhoeverGotAway(t *testing.T) {
	t.Parallel()
	b, r := newBrood(t)
	p := b.start(t, r)
	waitForPhase(t, p, "Chatting away")
	if state := stateOf(broodling(t, b.workdir, "headless")); state == "" || state == "Z" {
		t.Fatalf("the headless process has not come to life: %q", state)
	}
	begin := time.Now()
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.DefaultGrace}); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 15*time.Second || took < 8*time.Second {
		t.Errorf("it took %s", took)
	}
	mustBeDead(t, b.workdir, "plain", "group", "session", "daemon", "bare", "headless", "halted")
	// The driver came last, and has written how it ended.
	if result := wait(t, p); result.ExitCode != 130 || result.Error != "interrupted" || !result.Stopped {
		t.Errorf("%+v", result)
	}
}

func TestStopAfterTheDriver(t *testing.T) {
	t.Parallel()
	b, r := newBrood(t)
	p := b.start(t, r)
	waitForPhase(t, p, "Chatting away")
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(testContext(t)); !errors.Is(err, exec.ErrNoResult) {
		t.Errorf("error %v", err)
	}
	// By a worker that comes later.
	again, err := exec.Attach(r.Dir, r.Job)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if err := again.Stop(testContext(t), soon()); err != nil {
		t.Error(err)
	}
	mustBeDead(t, b.workdir, "plain", "group", "session", "daemon", "headless", "halted")
	if stateOf(broodling(t, b.workdir, "bare")) == "" {
		t.Error("what nothing is known of was found: say so in the documentation")
	}
}

func TestStopJobWithoutItsDriver(t *testing.T) {
	t.Parallel()
	b, r := newBrood(t)
	p := b.start(t, r)
	waitForPhase(t, p, "Chatting away")
	writeFile(t, filepath.Join(r.Dir, "driver.json"), "{")
	if _, err := exec.Attach(r.Dir, ""); !errors.Is(err, exec.ErrUnreadable) {
		t.Errorf("error %v", err)
	}
	if err := exec.StopJob(testContext(t), r.Job+"1", soon()); err != nil {
		t.Error(err)
	}
	if err := exec.StopJob(testContext(t), "", soon()); err == nil {
		t.Error("a job without an id was stopped")
	}
	if state := stateOf(broodling(t, b.workdir, "plain")); state == "" || state == "Z" {
		t.Fatal("another job was stopped")
	}
	if err := exec.StopJob(testContext(t), r.Job, soon()); err != nil {
		t.Error(err)
	}
	mustBeDead(t, b.workdir, "plain", "group", "session", "daemon", "bare", "headless", "halted")
}

// What a lab keeps running after a command that ended by itself is its business. After one that was stopped it is not, also
// for a worker that comes later.
func TestStopAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last string // what the plugin does in the end
		stop bool   // by a signal to the driver's group, as if a worker had begun to stop it and was gone
	}{
		"by itself": {last: "sys.exit(0)"},
		"stopped":   {last: "log.section_header('Chatting', 'away'); time.sleep(600)", stop: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := newBrood(t)
			body, _, _ := strings.Cut(brood, "def init(")
			writeFile(t, filepath.Join(b.workdir, "chatter.py"), body+"def init(topology):\n  daemon('daemon')\n  "+c.last+"\n")
			p := b.start(t, r)
			if c.stop {
				waitForPhase(t, p, "Chatting away")
				if err := errors.Join(syscall.Kill(-p.Pid(), syscall.SIGINT), syscall.Kill(p.Pid(), syscall.SIGUSR1)); err != nil {
					t.Fatal(err)
				}
			}
			if result := wait(t, p); result.Stopped != c.stop {
				t.Errorf("%+v", result)
			}
			again, err := exec.Attach(r.Dir, r.Job)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Release()
			if err := again.Stop(testContext(t), soon()); err != nil {
				t.Error(err)
			}
			if state := stateOf(broodling(t, b.workdir, "daemon")); (state == "" || state == "Z") != c.stop {
				t.Errorf("state %q", state)
			}
		})
	}
}

// stopEnv makes the test binary stop the run in that directory as another user, with the sudo of the folder in sudoEnv.
const (
	stopEnv = "EXEC_TEST_STOP"
	sudoEnv = "EXEC_TEST_SUDO"
)

func stopAndPrint(dir string) int {
	p, err := exec.Attach(dir, "")
	if err == nil {
		o := soon()
		o.Grace.Kill, o.Sudo = time.Second, os.Getenv(sudoEnv)
		err = p.Stop(context.Background(), o)
		p.Release()
	}
	var left *exec.LeftError
	if errors.As(err, &left) {
		fmt.Println("left:", left.Left)
		return 0
	}
	fmt.Println("ended:", err)
	return 0
}

// A worker that is not root can't signal what sudo has started as root.
func TestStopOfAnotherUsersProcesses(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	b, r := newBrood(t)
	// A root's run in the user's place, in directories that the user can come to.
	root := people.Dir(t)
	r.Dir = filepath.Join(root, "run")
	p := b.start(t, r)
	waitForPhase(t, p, "Chatting away")
	if err := os.Chmod(r.Dir, 0o711); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(root, "worker")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// By another process: a child that this one forks meanwhile would have the file open to write, and it could not be executed.
	if out, err := osexec.Command("cp", self, binary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// It has its rights from here: it says what it was called with.
	fifo := filepath.Join(root, "fifo")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Chown(fifo, who.uid, who.gid)); err != nil {
		t.Fatal(err)
	}
	calls, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Close()
	interpreter(t, root, "sudo", `printf '%s\n' "$*" > `+fifo)

	worker := func(sudo string) string {
		cmd := osexec.CommandContext(testContext(t), binary)
		cmd.Env = []string{stopEnv + "=" + r.Dir, sudoEnv + "=" + sudo, "PATH=" + exec.SystemPath}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who.credential()}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	begin := time.Now()
	without := worker("")
	mustContain(t, without, "left: [", strconv.Itoa(p.Pid())+" (python)", strconv.Itoa(broodling(t, b.workdir, "bare"))+" (python)")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if state := stateOf(broodling(t, b.workdir, "plain")); state == "" || state == "Z" {
		t.Fatal("it was stopped without the right to")
	}

	var signals []string
	obeyed := make(chan struct{})
	go func() {
		defer close(obeyed)
		lines := bufio.NewScanner(calls)
		for lines.Scan() {
			words := strings.Fields(lines.Text())
			if len(words) < 4 || words[0] != "-n" || words[1] != "kill" {
				return
			}
			signals = append(signals, words[2])
			_ = osexec.Command("kill", words[2:]...).Run()
		}
	}()
	// The driver's result says that it was signalled, and comes before those that are left.
	mustContain(t, worker(root), "ended: <nil>")
	if _, err := calls.WriteString("done\n"); err != nil {
		t.Fatal(err)
	}
	<-obeyed
	if !strings.HasPrefix(strings.Join(signals, " "), "-INT ") || !slices.Contains(signals, "-KILL") {
		t.Errorf("signals %q", signals)
	}
	mustBeDead(t, b.workdir, "plain", "group", "session", "daemon", "bare", "headless", "halted")
	if result := wait(t, p); !result.Stopped {
		t.Errorf("%+v", result)
	}
}
