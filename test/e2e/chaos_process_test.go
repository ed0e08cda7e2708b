package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// endPatience is how long a program may take to end on SIGTERM: requests under way get 10 s.
const endPatience = 20 * time.Second

// process is a program of the fleet that is killed, frozen and started again. What it writes goes straight into a file for each
// start: files outlive it, and nobody reads hundreds of starts at a test's end.
type process struct {
	c      *chaos
	name   string // "worker-alpha"
	binary string // a path
	args   []string
	env    []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	// ending says that the end of the present start is the test's doing.
	ending bool
	starts int
	// frozen are the times at which it was stopped by SIGSTOP; the last one has no end while it lasts.
	frozen []span
}

// span is a time from begin to end; a zero end is not reached yet.
type span struct{ begin, end time.Time }

// overlap is how much of begin to end the span covers.
func (s span) overlap(begin, end time.Time) time.Duration {
	if s.end.IsZero() || s.end.After(end) {
		s.end = end
	}
	if s.begin.Before(begin) {
		s.begin = begin
	}
	return max(s.end.Sub(s.begin), 0)
}

// start starts the program and does not wait until it is ready.
func (p *process) start() {
	p.c.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		p.c.t.Fatal(err)
	}
	defer log.Close() // the program has its own
	p.cmd = exec.Command(p.binary, p.args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, log, log
	// An interrupt at the terminal is for the test alone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.exited, p.ending = make(chan struct{}), false
	if err := p.cmd.Start(); err != nil {
		p.c.t.Fatal(err)
	}
	go p.watch(p.cmd, p.exited, p.logFile())
}

// watch sees the program end. Nobody has to end it but the test.
func (p *process) watch(cmd *exec.Cmd, exited chan struct{}, log string) {
	err := cmd.Wait()
	p.mu.Lock()
	ending := p.ending
	p.mu.Unlock()
	if !ending {
		p.c.find(byItself, "", "%s ended by itself (%v): %s", p.name, err, lastLines(log, 3))
	}
	close(exited)
}

func (p *process) logFile() string {
	return filepath.Join(p.c.logs, fmt.Sprintf("%s.%03d.log", p.name, p.starts))
}

// kill ends the program as a crash would.
func (p *process) kill() {
	<-p.signal(syscall.SIGKILL, true)
	p.thawed()
}

// terminate asks the program to end; ended waits for that.
func (p *process) terminate() { p.signal(syscall.SIGTERM, true) }

// ended waits until the program has ended, and says by a finding if it does not.
func (p *process) ended() {
	select {
	case <-p.end():
	case <-time.After(endPatience):
		p.c.find(byItself, "", "%s did not end within %s of SIGTERM", p.name, endPatience)
		p.kill()
	}
}

func (p *process) freeze() {
	p.mu.Lock()
	p.frozen = append(p.frozen, span{begin: time.Now()})
	p.mu.Unlock()
	p.signal(syscall.SIGSTOP, false)
}

func (p *process) thaw() {
	p.signal(syscall.SIGCONT, false)
	p.thawed()
}

func (p *process) thawed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.frozen); n > 0 && p.frozen[n-1].end.IsZero() {
		p.frozen[n-1].end = time.Now()
	}
}

// frozenDuring is for how much of that time the program was frozen.
func (p *process) frozenDuring(begin, end time.Time) (total time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.frozen {
		total += s.overlap(begin, end)
	}
	return total
}

// signal sends a signal to the present start, and returns what is closed when that has ended.
func (p *process) signal(s syscall.Signal, ends bool) (exited chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = p.ending || ends
	_ = p.cmd.Process.Signal(s) // it may have ended by itself, which is found elsewhere
	return p.exited
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// end is closed when the present start has ended.
func (p *process) end() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// start number, and whether its end has been asked for.
func (p *process) present() (start int, ending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts, p.ending
}

// alive says whether the present start still runs.
func (p *process) alive() bool {
	select {
	case <-p.end():
		return false
	default:
		return true
	}
}

// expect waits until the present start has written a line, and returns the submatches; nil: it never did.
func (p *process) expect(pattern string) []string {
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		content, err := os.ReadFile(p.logFile())
		if err != nil {
			p.c.t.Fatal(err)
		}
		if m := re.FindStringSubmatch(string(content)); m != nil {
			return m
		}
		if !p.alive() {
			break
		}
	}
	p.c.find(byItself, "", "%s wrote no line that matches %q: %s", p.name, pattern, lastLines(p.logFile(), 3))
	return nil
}
