package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/exec"
)

// sleeper is a topology whose transformation takes as long as the body of its plugin.
func sleeper(body string) map[string]string {
	return map[string]string{
		"topology.yml": threeRouters + "plugin: [ chatter ]\n",
		"chatter.py": `
import os, signal, subprocess, sys, time
from netsim.utils import log
def ready():
  log.section_header("Chatting", "away")
def init(topology):
` + body,
	}
}

const patient = time.Minute

func TestStopInterruptsNetlab(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper("  ready(); time.sleep(600)\n"))
	p := b.start(t, b.run(t, create(), status()))
	waitForPhase(t, p, "Chatting away")
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Interrupt: patient}}); err != nil {
		t.Fatal(err)
	}
	result := wait(t, p)
	if result.ExitCode != 130 || result.Error != "interrupted" || result.Command != "create" || result.Phase != "Chatting away" {
		t.Errorf("%+v", result)
	}
	mustBeEmpty(t, p.Pid())
}

func TestStopGoesUpToKillAndFindsOtherProcessGroups(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper(`
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  subprocess.Popen(["sleep", "600"], preexec_fn=os.setpgrp)  # inherits the ignored signals, in a group of its own
  ready()
  time.sleep(600)
`))
	p := b.start(t, b.run(t, create()))
	waitForPhase(t, p, "Chatting away")
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Interrupt: 50 * time.Millisecond, Terminate: 50 * time.Millisecond, Kill: patient}}); err != nil {
		t.Fatal(err)
	}
	// The command's first process may end before what it has started, by SIGTERM.
	if result := wait(t, p); result.ExitCode <= 128 || !strings.Contains(result.Error, "netlab create was killed by signal ") || !result.Stopped {
		t.Errorf("%+v", result)
	}
	mustBeEmpty(t, p.Pid())
}

func TestStopBeforeTheNextCommand(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper(`
  try:
    ready(); time.sleep(600)
  except KeyboardInterrupt:
    pass
`))
	p := b.start(t, b.run(t, create(), create()))
	waitForPhase(t, p, "Chatting away")
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Interrupt: patient}}); err != nil {
		t.Fatal(err)
	}
	result := wait(t, p)
	if result.ExitCode != 130 || result.Error != "stopped by SIGINT before netlab create began" || len(result.Commands) != 1 {
		t.Errorf("%+v", result)
	}
}

func TestKilledDriver(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper("  ready(); time.sleep(600)\n"))
	p := b.start(t, b.run(t, create()))
	waitForPhase(t, p, "Chatting away")
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(testContext(t)); !errors.Is(err, exec.ErrNoResult) {
		t.Errorf("error %v", err)
	}
	if len(sessionOf(t, p.Pid())) == 0 {
		t.Fatal("Netlab was to survive its driver here")
	}
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Interrupt: patient}}); err != nil {
		t.Fatal(err)
	}
	mustBeEmpty(t, p.Pid())
}

func TestAttach(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper("  ready()\n  while not os.path.exists('go'): time.sleep(0.01)\n  sys.exit(5)\n"))
	r := b.run(t, create())
	first := b.start(t, r)
	waitForPhase(t, first, "Chatting away")

	second, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if second.Pid() != first.Pid() {
		t.Errorf("process %d, not %d", second.Pid(), first.Pid())
	}
	waitForPhase(t, second, "Chatting away") // what the run is in already
	soon, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := second.Wait(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}

	other := osexec.CommandContext(testContext(t), os.Args[0])
	other.Env = append(os.Environ(), attachEnv+"="+r.Dir)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, len("attached to "))
	if _, err := out.Read(greeting); err != nil || string(greeting) != "attached to " {
		t.Fatalf("%q, %v", greeting, err)
	}
	released, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	released.Release()
	if _, err := released.Wait(testContext(t)); !errors.Is(err, exec.ErrReleased) {
		t.Errorf("error %v", err)
	}

	writeFile(t, filepath.Join(b.workdir, "go"), "")
	for _, p := range []*exec.Process{first, second} {
		if result := wait(t, p); result.ExitCode != 5 || result.Phase != "Chatting away" {
			t.Errorf("%+v", result)
		}
	}
	var theirs exec.Result
	decoder := json.NewDecoder(out)
	var pid int
	if err := errors.Join(decoder.Decode(&pid), decoder.Decode(&theirs), other.Wait()); err != nil {
		t.Fatal(err)
	}
	if pid != first.Pid() || theirs.ExitCode != 5 {
		t.Errorf("the other process: %d, %+v", pid, theirs)
	}

	late, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if result := wait(t, late); result.ExitCode != 5 {
		t.Errorf("%+v", result)
	}
	mustBeEmpty(t, first.Pid()) // reaped, too
}

func TestFence(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": threeRouters})
	abandoned := b.run(t, create())
	for range 2 {
		if _, err := exec.Attach(abandoned.Dir, ""); !errors.Is(err, exec.ErrNotStarted) {
			t.Fatalf("error %v", err)
		}
	}
	// A driver that comes too late does nothing.
	p := b.start(t, abandoned)
	if _, err := p.Wait(testContext(t)); !errors.Is(err, exec.ErrNotStarted) {
		t.Errorf("error %v", err)
	}
	for _, name := range []string{filepath.Join(b.workdir, "clab.yml"), filepath.Join(abandoned.Dir, "progress")} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := readFile(t, b.output()); text != "" {
		t.Errorf("output %q", text)
	}
	if _, err := exec.Attach(filepath.Join(b.root, "nowhere"), ""); !errors.Is(err, exec.ErrNotStarted) {
		t.Errorf("error %v", err)
	}

	// The other way round: a second driver for a run that has one.
	r := b.run(t, create())
	if result := wait(t, b.start(t, r)); result.ExitCode != 0 {
		t.Fatalf("%+v", result)
	}
	before := readFile(t, filepath.Join(r.Dir, "result.json"))
	again := osexec.CommandContext(testContext(t), b.Python, driverMain(t), "run", r.Dir)
	again.Env = r.Env
	var exit *osexec.ExitError
	if err := again.Run(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("error %v", err)
	}
	if after := readFile(t, filepath.Join(r.Dir, "result.json")); after != before {
		t.Error("a second driver wrote a result")
	}
}

// sessionOf returns the processes of a session, zombies included.
func sessionOf(t *testing.T, sid int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, name := range stats {
		content, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
		if fields[3] == strconv.Itoa(sid) {
			members = append(members, string(content))
		}
	}
	return members
}

// mustBeEmpty fails if the session has a process. Whose parent was not ours is init's to reap, which may take a moment.
func mustBeEmpty(t *testing.T, sid int) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for {
		left := sessionOf(t, sid)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("processes are left: %q", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
