package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

// program is one of the project's processes, started by a test.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

// programPath is where the program of that name is, which may be a path already.
func programPath(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(binaries, name)
}

// launch starts a binary with exactly this environment; it ends with the test at the latest.
func launch(t *testing.T, name string, env []string, args ...string) *program {
	t.Helper()
	return launchAs(t, nil, name, env, args...)
}

// launchAs is launch for another user; nil: the test's own.
func launchAs(t *testing.T, who *syscall.Credential, name string, env []string, args ...string) *program {
	t.Helper()
	return launchWith(t, func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who} }, name, env, args...)
}

// launchWith is launch with a last change of the command.
func launchWith(t *testing.T, change func(*exec.Cmd), name string, env []string, args ...string) *program {
	t.Helper()
	p := &program{
		t: t, name: name, done: make(chan struct{}), more: make(chan struct{}),
		cmd: exec.Command(programPath(name), args...),
	}
	p.cmd.Env = env
	change(p.cmd)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = os.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s %d wrote:", p.name, p.cmd.Process.Pid)
			for _, line := range p.lines {
				t.Log("  " + line)
			}
		}
	})
	return p
}

// expect waits for a line of the program's log and returns the submatches.
func (p *program) expect(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for seen := 0; ; {
		p.mu.Lock()
		lines, more := p.lines[seen:], p.more
		seen = len(p.lines)
		p.mu.Unlock()
		for _, line := range lines {
			if m := re.FindStringSubmatch(line); m != nil {
				return m
			}
		}
		select {
		case <-more:
		case <-p.done:
			p.t.Fatalf("%s ended without a line that matches %q; it wrote %q", p.name, pattern, p.lines)
		case <-ctx.Done():
			p.t.Fatalf("%s wrote no line that matches %q, but %q", p.name, pattern, p.lines)
		}
	}
}

// stop ends the program in order, and by force if it does not obey.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.awaitEnd()
}

// awaitEnd waits for the end of a program that was told to stop: a second signal would end it at once.
func (p *program) awaitEnd() {
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Errorf("%s did not stop on SIGTERM", p.name)
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it writes what each goroutine waits for
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
		p.kill()
	}
}

// kill ends the program as a crash would.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *program) String() string { return fmt.Sprintf("%s %d", p.name, p.cmd.Process.Pid) }

// awaitFile waits until a file that another program writes has the text.
func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	var content []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if content, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return
		}
	}
	t.Fatalf("%s never had %q:\n%s", path, text, content)
}

// processesWith lists the command lines of the processes that have the text in theirs.
func processesWith(t *testing.T, text string) (list []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// A process may end meanwhile.
		content, err := os.ReadFile(file)
		if line := strings.ReplaceAll(string(content), "\x00", " "); err == nil && strings.Contains(line, text) {
			list = append(list, line)
		}
	}
	return list
}
