package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// notFound is the driver's exit code for an answer that says there is no such lab.
const notFound = 4

// StatusQuery asks which labs there are, or how one of them is. It only reads.
type StatusQuery struct {
	// Instance is a lab's id. Empty: every lab.
	Instance string
	// Text asks for Netlab's text with its table instead of JSON.
	Text bool
	// StatusFile is Netlab's status file. Empty: the one in the home directory.
	StatusFile string
	// Env is the whole environment, KEY=value: see Environment.
	Env []string
	// User is whom the question is asked as, the lab's owner: a lab's snapshot is code. Only root can do that. nil: as this process.
	User *syscall.Credential
}

// maxStatus bounds an answer, in bytes.
const maxStatus = 16 << 20

// Status returns what `netlab status --all --format json` (or `-i <instance>`) prints. Where there is no lab, or not that
// one, it returns the JSON that says so together with ErrNotFound.
func (n *Netlab) Status(ctx context.Context, q StatusQuery) ([]byte, error) {
	args := []string{"query"}
	if q.Instance != "" {
		args = append(args, "--instance="+q.Instance)
	}
	if q.StatusFile != "" {
		args = append(args, "--status-file="+q.StatusFile)
	}
	if q.Text {
		args = append(args, "--text")
	}
	cmd := n.commandAs(ctx, q.User, q.Env, args...)
	stdout, stderr := &bounded{limit: maxStatus}, &bounded{limit: maxStatus}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errTooLong):
		return nil, fmt.Errorf("asking Netlab for its status: %w", err)
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("asking Netlab for its status: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == notFound:
		return stdout.Bytes(), ErrNotFound
	case len(lastLine(stderr.Bytes())) > 0:
		return nil, fmt.Errorf("asking Netlab for its status: %s", lastLine(stderr.Bytes()))
	default:
		return nil, fmt.Errorf("asking Netlab for its status: %w", err)
	}
}

var errTooLong = errors.New("the answer is too long")

// bounded takes what a process writes, up to a limit. Behind it the process's pipe is closed.
type bounded struct {
	text  bytes.Buffer
	limit int
}

func (b *bounded) Bytes() []byte { return b.text.Bytes() }

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.limit {
		return 0, errTooLong
	}
	return b.text.Write(p)
}
