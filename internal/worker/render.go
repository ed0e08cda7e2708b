package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// maxSVG bounds a picture, in bytes.
const maxSVG = 8 << 20

// graphProgram draws graphs. It is beside this program.
const graphProgram = "netlab-graph"

// compilePause is how long Graphviz is not compiled to be kept after that has failed.
const compilePause = time.Minute

// renderer has graphs drawn, each in a process of its own.
type renderer struct {
	host string
	// program is the path of graphProgram; empty: beside this program.
	program string
	// folder is where Graphviz's code is for this processor: to compile it takes some thirty times as long as to draw. Every
	// lab's owner runs what is in there, and only this process's user can write there.
	folder string
	log    *slog.Logger
	// turn is for whoever compiles, or looks whether that has been done; failed is when it last failed.
	turn     chan struct{}
	failed   time.Time
	compiled atomic.Bool
}

func newRenderer(c *Config) *renderer {
	return &renderer{
		host: c.Host, program: c.GraphProgram, folder: filepath.Join(c.DataDir, "graphviz", "code"), log: c.Log,
		turn: make(chan struct{}, 1),
	}
}

// render draws a description with the rights of the lab's owner. What draws it is killed at the end of ctx.
func (r *renderer) render(ctx context.Context, description string, user *syscall.Credential) ([]byte, error) {
	program, err := r.open()
	if err != nil {
		return nil, err
	}
	defer program.Close()
	code, err := r.code(ctx, program)
	if err != nil {
		return nil, err
	}
	defer code.Close()
	image, err := r.run(ctx, program, code, description, user)
	// Go's exit code of a panic: that of Graphviz's package where the code is damaged, or was compiled for another processor than
	// the one that a virtual host has moved to.
	if exit := (*exec.ExitError)(nil); code == nil || !errors.As(err, &exit) || exit.ExitCode() != 2 {
		return image, err
	}
	image, without := r.run(ctx, program, nil, description, user)
	if without != nil {
		return nil, err // the code is not why
	}
	r.log.Warn("the compiled Graphviz was of no use, for the next graph it is compiled anew", "folder", r.folder, "error", err)
	r.compiled.Store(false)
	return image, nil
}

func (r *renderer) open() (*os.File, error) {
	path := r.program
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(filepath.Dir(self), graphProgram)
	}
	program, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there, which draws the graphs: put it beside this program", path)
	}
	if err != nil {
		return nil, fmt.Errorf("graphs cannot be drawn: %w", err)
	}
	return program, nil
}

// code returns the folder with the compiled Graphviz, nil where it cannot be kept: then each graph has it compiled for itself.
func (r *renderer) code(ctx context.Context, program *os.File) (*os.File, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, r.tooLong()
	}
	if !r.compiled.Load() {
		if time.Since(r.failed) < compilePause {
			return nil, nil
		}
		err := r.compile(ctx, program)
		if ctx.Err() != nil {
			return nil, r.tooLong()
		}
		if err != nil {
			r.log.Warn("Graphviz cannot be kept compiled: each graph takes a second longer", "folder", r.folder, "error", err)
			r.failed = time.Now()
			return nil, nil
		}
		r.compiled.Store(true)
	}
	code, err := os.Open(r.folder)
	if err != nil {
		r.compiled.Store(false)
		return nil, nil //nolint:nilerr // somebody has removed it: without it graphs are drawn as well
	}
	return code, nil
}

// compile has netlab-graph, as this process's user, compile Graphviz into the folder, and lets all users read it. The folder above stays
// closed to them: who has this one open does not get out of it.
func (r *renderer) compile(ctx context.Context, program *os.File) error {
	if err := os.RemoveAll(r.folder); err != nil {
		return err
	}
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return err
	}
	folder, err := os.OpenRoot(r.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	code, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer code.Close()
	if _, err := r.run(ctx, program, code, "graph { r1 }", nil); err != nil {
		return err
	}
	files := 0
	err = fs.WalkDir(folder.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return folder.Chmod(path, 0o755)
		default:
			files++
			return folder.Chmod(path, 0o644)
		}
	})
	if err == nil && files == 0 {
		err = errors.New("nothing was written")
	}
	return err
}

func (r *renderer) tooLong() error {
	return noAnswerf(http.StatusServiceUnavailable, "host %s: drawing the graph takes too long, it was ended", r.host)
}

// run has the program draw. It looks for Graphviz's compiled code in the folder code, and writes it there where it finds none; nil: it
// compiles for itself.
func (r *renderer) run(ctx context.Context, program, code *os.File, description string, user *syscall.Credential) ([]byte, error) {
	var image, fault bytes.Buffer
	cmd := exec.CommandContext(ctx, program.Name())
	// By their descriptors: the user need not be able to come to where the programs are, nor to the data directory.
	cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{program}
	scratch := "/proc/self/nowhere" // the default is a folder that other users can prepare
	if code != nil {
		scratch, cmd.ExtraFiles = "/proc/self/fd/4", append(cmd.ExtraFiles, code)
	}
	cmd.Dir = "/"
	cmd.Env = []string{"TMPDIR=" + scratch, "GOMAXPROCS=2", "GOTRACEBACK=none"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: user}
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(description)
	picture := &limited{buffer: &image, limit: maxSVG}
	cmd.Stdout, cmd.Stderr = picture, &limited{buffer: &fault, limit: 64 << 10}
	err := cmd.Run()
	text, _, _ := strings.Cut(strings.TrimSpace(fault.String()), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, r.tooLong()
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
