package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// revision is one side of the comparison.
type revision struct {
	name string // empty: the working tree
	dir  string // for its files, which are not there yet

	source  string // where it was built
	program string
	rows    []row // with the values of every round so far
}

// String is how the revision is called in what is printed.
func (r *revision) String() string {
	if r.name == "" {
		return "the working tree"
	}
	return r.name
}

// previousRelease is the revision that test/previous-release names, empty where this checkout does not have it.
func (o *options) previousRelease(ctx context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(o.root, "test", "previous-release"))
	if err != nil {
		return "", err
	}
	revision := strings.TrimSpace(string(text))
	if err := o.check(ctx, revision); errors.Is(err, errNoRevision) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return revision, nil
}

// errNoRevision is a revision that this checkout does not have.
var errNoRevision = errors.New("this checkout does not have it")

// check returns an error where this checkout does not have the revision, or git does not say.
func (o *options) check(ctx context.Context, revision string) error {
	_, err := command(ctx, o.root, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = errNoRevision
	}
	if err != nil {
		return fmt.Errorf("revision %q: %w", revision, err)
	}
	return nil
}

// build lays the revision's files out, below its directory, and builds its benchmark program. Nothing is registered with git, so
// nothing is left there whatever happens. With -trimpath what is the same in two places is built once, and kept for the next time.
func (r *revision) build(ctx context.Context, root string) error {
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return err
	}
	r.source, r.program = root, filepath.Join(r.dir, "bench")
	if r.name != "" {
		r.source = filepath.Join(r.dir, "source")
		archive := filepath.Join(r.dir, "source.tar")
		if _, err := command(ctx, root, "git", "archive", "--output="+archive, "--prefix=source/", r.name); err != nil {
			return err
		}
		if _, err := command(ctx, r.dir, "tar", "-xf", archive); err != nil {
			return err
		}
	}
	_, err := command(ctx, r.source, "go", "build", "-trimpath", "-buildvcs=false", "-o", r.program, "./test/bench")
	return err
}

// unusableError is a revision whose benchmarks do not run.
type unusableError struct {
	revision *revision
	err      error
}

func (e *unusableError) Error() string {
	return fmt.Sprintf("the benchmarks of %s do not run: %v", e.revision, e.err)
}

func (e *unusableError) Unwrap() error { return e.err }

// measure runs the revision's benchmarks once and adds what they gave to its rows.
func (r *revision) measure(ctx context.Context, args []string) error {
	file := filepath.Join(r.dir, "figures.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_, err := command(ctx, r.source, r.program, append(args, "-json", file, "-dir", r.dir)...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &unusableError{r, err}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return &unusableError{r, err}
	}
	var table struct {
		Rows []row `json:"rows"`
	}
	if err := json.Unmarshal(text, &table); err != nil {
		return &unusableError{r, err}
	}
	r.rows = merge(r.rows, table.Rows)
	return nil
}

// patience is how long a command that is to end may take to clean up.
const patience = 30 * time.Second

// command runs a program and returns what it wrote. When ctx ends it is interrupted, which it alone sees: at a terminal, Ctrl-C is for
// this process.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = patience
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
