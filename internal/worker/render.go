package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxSVG bounds a picture, in bytes.
const maxSVG = 8 << 20

// graphProgram draws graphs. It is beside this program.
const graphProgram = "netlab-graph"

// render draws a description in a process of its own, with the rights of the lab's owner, that is killed at the end of ctx.
func (w *Worker) render(ctx context.Context, description string, user *syscall.Credential) ([]byte, error) {
	program := w.config.GraphProgram
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program = filepath.Join(filepath.Dir(self), graphProgram)
	}
	binary, err := os.Open(program)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there, which draws the graphs: put it beside this program", program)
	}
	if err != nil {
		return nil, fmt.Errorf("graphs cannot be drawn: %w", err)
	}
	defer binary.Close()
	var image, fault bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	// The user need not be able to come to where the programs are.
	cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{binary}
	cmd.Dir = "/"
	// Graphviz's compiled code would be kept in a folder that other users can prepare. Without one it is compiled anew.
	cmd.Env = []string{"TMPDIR=/proc/self/nowhere", "GOMAXPROCS=2", "GOTRACEBACK=none"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: user}
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(description)
	picture := &limited{buffer: &image, limit: maxSVG}
	cmd.Stdout, cmd.Stderr = picture, &limited{buffer: &fault, limit: 64 << 10}
	tooLong := noAnswerf(http.StatusServiceUnavailable, "host %s: drawing the graph takes too long, it was ended", w.config.Host)
	if err := cmd.Start(); ctx.Err() != nil {
		return nil, tooLong
	} else if err != nil {
		return nil, fmt.Errorf("graphs cannot be drawn: %w", err)
	}
	err = cmd.Wait()
	text, _, _ := strings.Cut(strings.TrimSpace(fault.String()), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, tooLong
	case picture.full:
		return nil, noAnswerf(http.StatusBadRequest, "the graph cannot be drawn: the picture has more than %d bytes", maxSVG)
	case errors.As(err, &exit) && exit.ExitCode() == 1 && text != "":
		return nil, noAnswerf(http.StatusBadRequest, "the graph cannot be drawn: %s", strings.ToValidUTF8(text, "\uFFFD"))
	case err != nil:
		return nil, fmt.Errorf("the graph cannot be drawn: %w %s", err, strings.ToValidUTF8(text, "\uFFFD"))
	}
	return image.Bytes(), nil
}

// limited takes so many bytes and refuses more.
type limited struct {
	buffer *bytes.Buffer
	limit  int
	full   bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buffer.Len()+len(p) > l.limit {
		l.full = true
		return 0, fmt.Errorf("it has more than %d bytes", l.limit)
	}
	return l.buffer.Write(p)
}
