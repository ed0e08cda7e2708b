package standins_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/test/labs"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

// limit is how long a test waits for what takes a few seconds on an idle machine.
const limit = 3 * time.Minute

// bench is a place to run Netlab in: a home of its own, the stand-ins (or the real programs) in front of PATH.
type bench struct {
	t      *testing.T
	netlab string
	home   string
	user   string
	path   string
	// host is nil where the real programs are used.
	host *standins.Standins
}

// setup makes a bench with stand-ins.
func setup(t *testing.T) *bench {
	t.Helper()
	python := standins.Python(t)
	// Ansible makes its files for this machine in that user's home: of one who is not there, in its working directory, which is Netlab's own.
	b := &bench{t: t, netlab: filepath.Join(filepath.Dir(python), "netlab"), home: t.TempDir(), user: people.Caller(t)}
	if _, err := os.Stat(b.netlab); err != nil {
		t.Fatalf("no netlab beside %s: install networklab into its virtual environment (%v)", python, err)
	}
	b.host = standins.Install(t)
	b.path = b.host.Path() + ":" + filepath.Dir(python) + ":/usr/bin:/bin"
	return b
}

// setupEither makes a bench with the real programs if NETLAB_TEST_REAL is 1, else with stand-ins.
func setupEither(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	if os.Getenv("NETLAB_TEST_REAL") != "1" {
		return b
	}
	b.host = nil
	b.path = filepath.Dir(b.netlab) + ":" + os.Getenv("PATH")
	for _, probe := range [][]string{{"containerlab", "version"}, {"docker", "info"}} {
		if output, err := b.command(t.TempDir(), probe...).CombinedOutput(); err != nil {
			t.Fatalf("NETLAB_TEST_REAL=1 needs the real programs, but `%s`: %v %s", strings.Join(probe, " "), err, output)
		}
	}
	return b
}

// lab lays out a sample lab in a folder of the given name.
func (b *bench) lab(sample, folder string) string {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), folder)
	labs.Copy(b.t, sample, dir)
	return dir
}

func (b *bench) command(dir string, argv ...string) *exec.Cmd {
	program := argv[0]
	for _, folder := range strings.Split(b.path, ":") {
		if _, err := os.Stat(filepath.Join(folder, program)); err == nil {
			program = filepath.Join(folder, program)
			break
		}
	}
	cmd := exec.Command(program, argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + b.home, "USER=" + b.user, "PWD=" + dir, "PATH=" + b.path, "LANG=C.UTF-8", "PYTHONIOENCODING=utf-8",
		"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "COLUMNS=200", "NO_COLOR=1", "TERM=dumb",
		"ANSIBLE_NOCOLOR=1", "CLAB_VERSION_CHECK=disable",
	}
	return cmd
}

// result is how a program ended; signal is set if it was killed by one.
type result struct {
	output string
	stdout string
	stderr string
	code   int
	signal syscall.Signal
}

// run runs a program to its end.
func (b *bench) run(dir string, argv ...string) result {
	b.t.Helper()
	return b.start(dir, argv...).wait()
}

// mustRun runs a program that must succeed and returns its output.
func (b *bench) mustRun(dir string, argv ...string) string {
	b.t.Helper()
	r := b.run(dir, argv...)
	if r.code != 0 {
		b.t.Fatalf("%s: exit code %d\n%s", strings.Join(argv, " "), r.code, r.output)
	}
	return r.output
}

// running is a program in a session of its own.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// start starts a program in a session of its own, of which nothing is left when the test ends.
func (b *bench) start(dir string, argv ...string) *running {
	b.t.Helper()
	r := &running{t: b.t, cmd: b.command(dir, argv...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	// What the program leaves behind may hold its output open; it is not waited for.
	r.cmd.WaitDelay = 2 * time.Second
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := r.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		r.awaitGroupGone()
	})
	return r
}

// wait waits for the program, not for what it left behind.
func (r *running) wait() result {
	r.t.Helper()
	timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		r.t.Fatal(err)
	}
	res := result{stdout: r.stdout.String(), stderr: r.stderr.String(), code: r.cmd.ProcessState.ExitCode()}
	res.output = res.stdout + res.stderr
	if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		res.signal = status.Signal()
	}
	return res
}

func (r *running) awaitGroupGone() {
	r.t.Helper()
	eventually(r.t, "the process group is gone", func() bool {
		return errors.Is(syscall.Kill(-r.cmd.Process.Pid, 0), syscall.ESRCH)
	})
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("after %v it is still not so that %s", limit, what)
}

func (b *bench) read(names ...string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(names...))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func exists(names ...string) bool {
	_, err := os.Lstat(filepath.Join(names...))
	return err == nil
}
