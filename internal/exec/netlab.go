// Package exec runs Netlab. A small Python driver, embedded here, imports Netlab's modules and forks a process for each
// Netlab command of a run; the run outlives the worker that started it, and a later worker attaches to it again.
//
// A run is a directory. It holds plan.json (what to run), driver.json (the fence: which process runs it), progress (lines of
// JSON: commands, phases and the question as they happen), verdict.json (the answer to it), errors, and at the end result.json.
// Linux only (pidfd, so 5.3 or newer).
//
// The driver keeps the rights of the worker and touches nothing of the lab's; the commands run as the job's user. Of a run's
// files that user writes progress and errors, so nothing in them is trusted: they are bounded, and decide over that job alone,
// but for which of Netlab's own templates are kept compiled for the next ones.
package exec

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

	"golang.org/x/sys/unix"
)

// MinVersion is the oldest Netlab that the driver runs: the first with a pickled snapshot.
const MinVersion = "26.1"

// probeTimeout bounds the question which Netlab an interpreter has; a first start on a slow disk takes seconds.
const probeTimeout = 30 * time.Second

// pipeGrace is how long a grandchild that keeps the pipes of its output open may hold up the end of what has started it.
const pipeGrace = time.Second

// Netlab is an interpreter that can import Netlab, with the driver to run it.
type Netlab struct {
	// Python is the interpreter's absolute path. It may be a symbolic link: a virtual environment is known by its path.
	Python string
	// PythonVersion is the interpreter's version, such as "3.11.7".
	PythonVersion string
	// Version is Netlab's version as the package states it, such as "26.10".
	Version string
	// Script is the netlab script beside the interpreter. Its folder goes onto the PATH of a run.
	Script string
	// Ansible says whether there is an ansible-playbook; without it nothing can be configured or collected.
	Ansible bool

	// dataDir is where the driver is written to, driver the path of its main.py there.
	dataDir, driver string
	installed       stamps
	warm            *warm // nil: every run imports Netlab by itself
}

// Find looks for Netlab. The interpreter is python (a path, or a name on PATH) where it is not empty, else the one that the
// netlab script on PATH uses, else python3. The driver is written below dataDir where it is not there yet.
//
// An interpreter that cannot run Netlab (none found, no Netlab, too old, broken) is an *UnusableError.
func Find(ctx context.Context, python, dataDir string) (*Netlab, error) {
	python, err := findPython(python)
	if err != nil {
		return nil, err
	}
	dataDir, err = filepath.Abs(dataDir)
	if err != nil {
		return nil, fmt.Errorf("finding Netlab: %w", err)
	}
	driver, err := installDriver(dataDir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	n := &Netlab{Python: python, dataDir: dataDir, driver: driver}
	cmd := n.command(ctx, probeEnvironment(python), "probe", MinVersion)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, unusable(python, fmt.Sprintf("%s did not say within %s which Netlab it has", python, probeTimeout))
		}
		return nil, fmt.Errorf("finding Netlab: %w", err)
	}
	var answer struct {
		Version, Python, Script string
		Ansible                 bool
		Error, Remedy           string
		Stamps                  stamps
	}
	if err := json.Unmarshal(lastLine(stdout.Bytes()), &answer); err != nil || runErr != nil {
		why := string(lastLine(stderr.Bytes()))
		switch {
		case why != "":
		case runErr != nil:
			why = runErr.Error()
		default:
			why = "it does not answer as Python does"
		}
		return nil, unusable(python, fmt.Sprintf("%s cannot run Netlab: %s", python, why))
	}
	if answer.Error != "" {
		return nil, &UnusableError{Python: python, Problem: answer.Error, Remedy: answer.Remedy, installed: answer.Stamps}
	}
	n.Version, n.PythonVersion, n.Script, n.Ansible = answer.Version, answer.Python, answer.Script, answer.Ansible
	n.installed = answer.Stamps
	return n, nil
}

// Changed says whether something was installed for its Python since Netlab was found: Find says what there is now.
func (n *Netlab) Changed() bool { return n.installed.changed() }

func unusable(python, problem string) *UnusableError {
	return &UnusableError{
		Python:  python,
		Problem: problem,
		Remedy: fmt.Sprintf("install Netlab with `python3 -m pip install 'networklab>=%s'`, "+
			"or set NETLAB_WORKER_PYTHON to the Python that has it", MinVersion),
	}
}

// command prepares a call of the driver: stdin is the null device, and unbuffered output keeps Netlab's lines in order with
// those of what it starts.
func (n *Netlab) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.Python, append([]string{"-u", "-X", "utf8", n.driver}, args...)...)
	if _, err := installDriver(n.dataDir); err != nil { // somebody may have removed it
		cmd.Err = err
	}
	cmd.Env = env
	cmd.WaitDelay = pipeGrace
	return cmd
}

// commandAs is a command of the driver's that only asks or notes something, as that user (nil: as this process), in a session of
// its own, so that what hangs is ended with whatever it has started.
func (n *Netlab) commandAs(ctx context.Context, user *syscall.Credential, env []string, args ...string) *exec.Cmd {
	cmd := n.command(ctx, env, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: user}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// findPython returns the absolute path of the interpreter to use.
func findPython(setting string) (string, error) {
	name := setting
	if name == "" {
		if script, err := exec.LookPath("netlab"); err == nil {
			interpreter, err := interpreterOf(script)
			if err != nil {
				return "", unusable("", err.Error())
			}
			name = interpreter
		}
	}
	if name == "" {
		name = "python3"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", unusable("", fmt.Sprintf("no Python found: %v", err))
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding Python: %w", err)
	}
	return path, nil
}

// interpreterOf returns the Python that the netlab script runs with, from its first lines. pip writes one of
//
//	#!/path/to/python            #!/usr/bin/env python3            #!/bin/sh
//	                                                               '''exec' "/a long path/python" "$0" "$@"
func interpreterOf(script string) (string, error) {
	content, err := os.ReadFile(script)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", script, err)
	}
	lines := strings.SplitN(string(content), "\n", 3)
	words := strings.Fields(strings.TrimPrefix(lines[0], "#!"))
	if !strings.HasPrefix(lines[0], "#!") || len(words) == 0 {
		return "", fmt.Errorf("%s is not a Python script", script)
	}
	switch filepath.Base(words[0]) {
	case "env":
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				return word, nil
			}
		}
	case "sh":
		if len(lines) > 1 && strings.HasPrefix(lines[1], "'''exec' ") {
			rest := strings.TrimPrefix(lines[1], "'''exec' ")
			if quoted, ok := strings.CutPrefix(rest, `"`); ok {
				path, _, _ := strings.Cut(quoted, `"`)
				return path, nil
			}
			path, _, _ := strings.Cut(rest, " ")
			return path, nil
		}
	default:
		if strings.Contains(filepath.Base(words[0]), "python") || strings.Contains(filepath.Base(words[0]), "pypy") {
			return words[0], nil
		}
	}
	return "", fmt.Errorf("%s does not say which Python it runs with", script)
}

func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}
