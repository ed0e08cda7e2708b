package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is the user and system time that a process has used so far, on the clock that clock_getcpuclockid(3) gives.
func processorTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// The fields of a process's memory.
const (
	resident     = "VmRSS:"
	mostResident = "VmHWM:" // the most that was resident so far
)

// memoryOf is a field of a process's memory, in MiB.
func memoryOf(pid int, field string) (float64, error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == field {
			kibibytes, err := strconv.ParseFloat(words[1], 64)
			return kibibytes / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, field)
}

var errNoChild = errors.New("there is no child")

// warmParent is in the command line of what a worker keeps ready of Netlab.
const warmParent = "main.py warm "

// childOf is the one child of a process whose command line has the words, or errNoChild.
func childOf(pid int, words string) (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	parent := strconv.Itoa(pid)
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		// The name, in brackets, may hold anything; behind it come the state and the parent.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 || fields[1] != parent {
			continue
		}
		dir := filepath.Dir(stat)
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && bytes.Contains(bytes.ReplaceAll(line, []byte{0}, []byte(" ")), []byte(words)) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("process %d: %w %q", pid, errNoChild, words)
}

// needFiles says what is missing where a process of the benchmark may not have so many files open. Go raises the soft limit to the
// hard one at the start of each.
func needFiles(count uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < count {
		return fmt.Errorf("a process may have %d files open and needs %d: raise the hard limit (ulimit -Hn %d)", limit.Cur, count, count)
	}
	return nil
}
