package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Setting is where and as whom a question about a lab is asked.
type Setting struct {
	// Place is the opened directory of the lab.
	Place *os.File
	// Env is the whole environment, KEY=value: see Environment.
	Env []string
	// User is the lab's owner, whose snapshot is code. Only root can ask as another user. nil: as this process.
	User *syscall.Credential
}

// RefusedError is Netlab's or the driver's own answer that there is none.
type RefusedError struct {
	// Kind is "unknown" (the lab has no such node), "state" (the lab's state is why) or "invalid" (the question is).
	Kind string
	Text string
}

func (e *RefusedError) Error() string { return e.Text }

// HungError is a question that had no answer in time. All that it had started is gone.
type HungError struct {
	// Step is what was going on, such as "`docker exec` on node r1 runs".
	Step string
}

func (e *HungError) Error() string { return "no answer in time: " + e.Step }

const (
	// maxAnswer bounds what is read of an answer, in bytes: a graph's description, escaped.
	maxAnswer = 16 << 20
	// sweepLimit bounds the search for what a question has left behind.
	sweepLimit = time.Second
	// afterwards is how long after the end of its time the session of a question ends by itself.
	afterwards = 2 * time.Second
)

// answer is the driver's, the last line of what it says.
type answer struct {
	Step     string
	ExitCode *int
	Dot      *string
	Refused  *string
	Kind     string
}

// ask puts a question to the driver and returns its answer with what was printed, at most limit bytes: cut says that there
// was more, and that the question was ended there. Errors: *RefusedError, *HungError, the context's.
//
// The question runs in a session of its own; when ask returns, nothing is left of it.
func (n *Netlab) ask(ctx context.Context, s *Setting, question map[string]any, limit int) (a answer, log []byte, cut bool, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return a, nil, false, errors.New("asking Netlab: there is no limit of time")
	}
	question["seconds"] = (time.Until(deadline) + afterwards).Seconds()
	text, err := json.Marshal(question)
	if err != nil {
		return a, nil, false, err
	}
	fd, err := unix.MemfdCreate("answer", unix.MFD_CLOEXEC)
	if err != nil {
		return a, nil, false, fmt.Errorf("asking Netlab: %w", err)
	}
	answers := os.NewFile(uintptr(fd), "answer")
	defer answers.Close()
	id, err := uuid.NewRandom()
	if err != nil {
		return a, nil, false, err
	}
	mark := "question-" + id.String()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	output := &head{limit: limit, full: cancel}
	cmd := n.commandAs(ctx, s.User, append(slices.Clip(s.Env), jobVariable+"="+mark), "ask", "3", "4", string(text))
	cmd.ExtraFiles = []*os.File{answers, s.Place}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return a, nil, false, fmt.Errorf("asking Netlab: %w", err)
	}
	left := &tree{job: mark}
	if leader, err := readProcess(cmd.Process.Pid); err == nil {
		left.driver = leader.identity()
	}
	err = cmd.Wait()
	left.sweep()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // who held the pipe open is gone by now
	}
	a, steps := readAnswer(answers)
	switch {
	case output.cut:
		return a, output.text.Bytes(), true, nil
	case a.Refused != nil:
		return a, nil, false, &RefusedError{Kind: a.Kind, Text: strings.ToValidUTF8(*a.Refused, "\uFFFD")}
	case a.ExitCode != nil || a.Dot != nil:
		return a, output.text.Bytes(), false, nil
	case !time.Now().Before(deadline):
		return a, nil, false, &HungError{Step: steps}
	case ctx.Err() != nil:
		return a, nil, false, ctx.Err()
	default:
		why := string(lastLine(output.text.Bytes()))
		if why == "" && err != nil {
			why = err.Error()
		}
		return a, nil, false, fmt.Errorf("asking Netlab: %s", strings.ToValidUTF8(why, "\uFFFD"))
	}
}

// readAnswer returns the last line, and the last step.
func readAnswer(file *os.File) (last answer, step string) {
	text, err := io.ReadAll(io.LimitReader(io.NewSectionReader(file, 0, maxAnswer), maxAnswer))
	if err != nil {
		return last, step
	}
	step = "the driver starts"
	for line := range bytes.Lines(text) {
		var a answer
		// The lab's own code can write here, too.
		if json.Unmarshal(line, &a) != nil {
			continue
		}
		if last = a; a.Step != "" {
			step = a.Step
		}
	}
	return last, step
}

// sweep ends what is left of a question.
func (t *tree) sweep() {
	for end := time.Now().Add(sweepLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left, err := t.living()
		if err == nil && len(left) == 0 {
			return
		}
		for _, q := range left {
			_ = send(q.identity(), unix.SIGKILL)
		}
	}
}

// head takes the beginning of what a process writes, and calls full when there is more.
type head struct {
	text  bytes.Buffer
	limit int
	full  func()
	cut   bool
}

func (h *head) Write(p []byte) (int, error) {
	room := min(h.limit-h.text.Len(), len(p))
	h.text.Write(p[:room])
	if room < len(p) && !h.cut {
		h.cut = true
		h.full()
	}
	return len(p), nil
}
