package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identity is a process, told apart from a later one with the same number. The driver writes its own into driver.json before
// it does anything else; whoever makes that file decides the run.
type identity struct {
	PID int `json:"pid"`
	// Start is when the process began, in clock ticks since Boot.
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
	// Abandoned marks a run that nobody wants to begin any more.
	Abandoned bool `json:"abandoned,omitempty"`
}

// claimOrRead returns the driver of the run in dir. Where there is none yet, it sees to it that none ever begins and returns
// ErrNotStarted.
func claimOrRead(dir string) (identity, error) {
	fence := filepath.Join(dir, "driver.json")
	content, err := readRunFile(fence)
	if errors.Is(err, fs.ErrNotExist) {
		if err = abandon(dir); errors.Is(err, fs.ErrNotExist) {
			return identity{}, ErrNotStarted // no directory: no driver can make its fence in it
		}
		if err == nil {
			content, err = readRunFile(fence) // somebody may have been faster
		}
	}
	if err != nil {
		return identity{}, fmt.Errorf("reading who runs %s: %w", dir, err)
	}
	var driver identity
	if err := json.Unmarshal(content, &driver); err != nil {
		return identity{}, fmt.Errorf("reading who runs %s: %w: %w", dir, ErrUnreadable, err)
	}
	if driver.Abandoned {
		if begun(dir) {
			return identity{}, fmt.Errorf("reading who runs %s: %w: its driver.json was gone", dir, ErrUnreadable)
		}
		return identity{}, ErrNotStarted
	}
	if driver.PID < 1 || driver.PID > math.MaxInt32 || driver.Boot == "" {
		return identity{}, fmt.Errorf("reading who runs %s: %w: it names no process", dir, ErrUnreadable)
	}
	return driver, nil
}

// begun says whether a driver has left something in dir that none leaves before it has made its fence.
func begun(dir string) bool {
	for _, name := range []string{"progress", "result.json"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// abandon makes the fence, as complete from its first moment as the driver makes it.
func abandon(dir string) error {
	content, err := json.Marshal(identity{Abandoned: true})
	if err != nil {
		return err
	}
	return linkSynced(dir, "driver.json", content)
}

// process is a line of /proc/<pid>/stat, as far as it matters here.
type process struct {
	pid, parent, session int
	state                byte
	threads              int
	start                uint64
	name                 string
}

func (p process) identity() identity { return identity{PID: p.pid, Start: p.start} }

// gone says whether the process has ended: a zombie only waits for its parent. One that has more threads than the first,
// which has ended, lives.
func (p process) gone() bool { return (p.state == 'Z' || p.state == 'X') && p.threads < 2 }

func readProcess(pid int) (process, error) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	// "pid (name) state ppid pgrp session … starttime …": the name may itself hold blanks and brackets.
	end := bytes.LastIndexByte(content, ')')
	begin := bytes.IndexByte(content, '(')
	fields := strings.Fields(string(content[end+1:]))
	if begin < 0 || end < begin || len(fields) < 20 {
		return process{}, fmt.Errorf("reading /proc/%d/stat: unknown form", pid)
	}
	p := process{pid: pid, state: fields[0][0], name: string(content[begin+1 : end])}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return process{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
	}
	if p.session, err = strconv.Atoi(fields[3]); err != nil {
		return process{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
	}
	if p.threads, err = strconv.Atoi(fields[17]); err != nil {
		return process{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
	}
	if p.start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return process{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
	}
	return p, nil
}

// ticks is how many of the kernel's clock ticks there are in a second, as far as programs see them.
const ticks = 100

// age is how long ago the process began. It is told by a clock that nobody sets, which goes on while the machine sleeps.
func (i identity) age() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading the time since the machine's start: %w", err)
	}
	return time.Duration(now.Nano()) - time.Duration(i.Start)*time.Second/ticks, nil
}

// bootID names the machine's run since it was switched on.
func bootID() (string, error) {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(content)), err
}
