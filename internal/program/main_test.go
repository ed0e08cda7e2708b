package program

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/settings"
)

// playedVariable makes the tests' program play another one.
const playedVariable = "PROGRAM_TEST_PLAYS"

func TestMain(m *testing.M) {
	switch os.Getenv(playedVariable) {
	case "main":
		Main("test", "0", func(settings.Invocation) (noSettings, error) { return noSettings{}, nil }, playRun)
	case "listen":
		playListen()
	case "watch":
		playWatch()
	default:
		os.Exit(m.Run())
	}
}

type noSettings struct{}

func (noSettings) Summary() []settings.Value { return nil }
func (noSettings) MakeDirs() error           { return nil }

// playRun says when it is to end, and ends with its input.
func playRun(ctx context.Context, _ noSettings, _ string, _ *slog.Logger) error {
	fmt.Println("runs")
	<-ctx.Done()
	fmt.Println("is to end")
	_, err := io.ReadAll(os.Stdin)
	fmt.Println("ends")
	return err
}

// played is a process that plays another program.
type played struct {
	t     *testing.T
	cmd   *osexec.Cmd
	input io.WriteCloser
	lines *bufio.Scanner
}

// play starts one, by a command before it where there is one.
func play(t *testing.T, what string, files []*os.File, command ...string) *played {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = append(command, self)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := osexec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), playedVariable+"="+what, "LISTEN_FDS="+strconv.Itoa(max(len(files), 1)),
		"GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = files
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &played{t: t, cmd: cmd, input: input, lines: bufio.NewScanner(output)}
}

func (p *played) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// says waits for the next line.
func (p *played) says(want string) {
	p.t.Helper()
	p.lines.Scan()
	if got := p.lines.Text(); got != want {
		p.t.Fatalf("it says %q, want %q", got, want)
	}
}

func (p *played) endsInOrder() {
	p.t.Helper()
	if err := p.input.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.says("ends")
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err)
	}
}

// hearsHangup skips a test that was itself started to outlive its terminal, and its programs with it.
func hearsHangup(t *testing.T) {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored from the start")
	}
}

func TestASignalEndsAProgramInOrder(t *testing.T) {
	t.Parallel()
	hearsHangup(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p := play(t, "main", nil)
			p.says("runs")
			p.signal(s)
			p.says("is to end")
			// Of a terminal that is closed the kernel tells, and the shell too.
			p.signal(syscall.SIGHUP)
			p.endsInOrder()
		})
	}
}

func TestASecondSignalEndsAProgramAtOnce(t *testing.T) {
	t.Parallel()
	hearsHangup(t)
	p := play(t, "main", nil)
	p.says("runs")
	p.signal(syscall.SIGHUP)
	p.says("is to end")
	over := make(chan error, 1)
	go func() { over <- p.cmd.Wait() }()
	for tick := time.Tick(10 * time.Millisecond); ; {
		select {
		case err := <-over:
			if err == nil || !strings.Contains(err.Error(), "terminated") {
				t.Errorf("it ended with %v", err)
			}
			return
		case <-tick:
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}

// A program that was started to outlive its terminal does so.
func TestAHangupThatIsIgnoredAtTheStart(t *testing.T) {
	t.Parallel()
	p := play(t, "main", nil, "nohup")
	p.says("runs")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, _, _ = strings.Cut(mask, "\n")
	ignored, err := strconv.ParseUint(mask, 16, 64)
	if err != nil || ignored&(1<<(syscall.SIGHUP-1)) == 0 {
		t.Errorf("it ignores %q, %v", mask, err)
	}
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	p.says("is to end")
	p.endsInOrder()
}
