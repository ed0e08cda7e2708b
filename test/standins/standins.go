// Package standins lays out stand-ins for containerlab, docker, sudo and brctl for a test: they answer as those
// programs do, and keep a pretended host in one file. README.md tells what they can do.
package standins

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

//go:embed bin bin/standin/__init__.py
var files embed.FS

// Standins is one pretended host. Its methods end the test on an error, so they belong in the test's goroutine.
type Standins struct {
	t   testing.TB
	dir string
}

// Install lays out the stand-ins in a temporary folder of the test, with a host that has no lab.
func Install(t testing.TB) *Standins {
	t.Helper()
	s := &Standins{t: t, dir: t.TempDir()}
	// Workers run jobs as other users, whose stand-ins use the same state.
	s.check(os.Chmod(filepath.Dir(s.dir), 0o755))
	s.check(os.Chmod(s.dir, 0o777))
	python := Python(t)
	s.check(fs.WalkDir(files, "bin", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(s.dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o755)
		if strings.HasSuffix(name, ".py") {
			mode = 0o644
		}
		return WriteProgram(target, begunBy(python, text), mode)
	}))
	modules, err := compiled.of(python, s.Path())
	s.check(err)
	s.check(s.lay(modules))
	return s
}

// begunBy has a program begun by that interpreter, and where its user may not run that, by the python3 of PATH, which may be a script that
// looks for one first: that takes longer than most programs here. What it adds is a command to a shell, and a text to Python.
func begunBy(python string, program []byte) []byte {
	shell := fmt.Sprintf("#!/bin/sh\n''':'\npython='%s'\n[ -x \"$python\" ] || python=python3\nexec \"$python\" \"$0\" \"$@\"\n'''\n", python)
	return bytes.Replace(program, []byte("#!/usr/bin/env python3\n"), []byte(shell), 1)
}

// WriteProgram writes a file that is going to be run. A child that another goroutine forks in the middle would hold
// the file open for writing, and running it would fail with "text file busy".
func WriteProgram(name string, text []byte, mode fs.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(name, text, mode)
}

// Path is the folder of the programs, to be put first in PATH. For users who may not run the
// tests' Python, a python3 that has PyYAML must follow in PATH, such as that of a virtual environment with Netlab.
func (s *Standins) Path() string { return filepath.Join(s.dir, "bin") }

// Dir is the folder of state, knobs and gates.
func (s *Standins) Dir() string { return s.dir }

// Container is a container of the pretended host.
type Container struct {
	Name  string `json:"name"`
	Lab   string `json:"lab"`  // empty: of no lab
	Node  string `json:"node"` // the node's name in the topology
	Image string `json:"image"`
	// State is "created", "running" or "exited".
	State string `json:"state"`
	// Topology is the absolute path of the clab.yml it was made from.
	Topology string `json:"topology"`
	Network  string `json:"network"`
	Address  string `json:"address"` // in the management network
	// Configured are the configuration scripts that were run: paths in the container, or file names for those
	// that run in its network namespace.
	Configured []string `json:"configured"`
}

// Bridge is a bridge of the pretended host.
type Bridge struct {
	Up           bool   `json:"up"`
	GroupFwdMask string `json:"groupFwdMask"`
}

// Containers are all containers as `docker ps -a` would show them, by name.
func (s *Standins) Containers() []Container {
	s.t.Helper()
	var state struct {
		Containers map[string]struct {
			Container
			StartsAt *float64 `json:"startsAt"`
		} `json:"containers"`
	}
	s.read("state.json", &state)
	containers := []Container{}
	for _, c := range state.Containers {
		if c.StartsAt != nil && passed(*c.StartsAt) {
			c.State = "running"
		}
		containers = append(containers, c.Container)
	}
	slices.SortFunc(containers, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return containers
}

// Bridges are the names of the bridges, sorted.
func (s *Standins) Bridges() []string {
	s.t.Helper()
	return sortedKeys(s.bridges())
}

// Bridge is the bridge of that name; false if there is none.
func (s *Standins) Bridge(name string) (Bridge, bool) {
	s.t.Helper()
	bridge, ok := s.bridges()[name]
	return bridge, ok
}

func (s *Standins) bridges() map[string]Bridge {
	s.t.Helper()
	var state struct {
		Bridges map[string]Bridge `json:"bridges"`
	}
	s.read("state.json", &state)
	return state.Bridges
}

// Networks are the names of the management networks, sorted.
func (s *Standins) Networks() []string {
	s.t.Helper()
	var state struct {
		Networks map[string]any `json:"networks"`
	}
	s.read("state.json", &state)
	return sortedKeys(state.Networks)
}

// read parses a JSON file of the host's folder; one that is not there leaves the value as it is.
func (s *Standins) read(name string, value any) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.check(err)
	s.check(json.Unmarshal(text, value))
}

func (s *Standins) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("stand-ins: %v", err)
	}
}
