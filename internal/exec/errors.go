package exec

import (
	"errors"
	"strings"
)

var (
	// ErrNotStarted is a run of which no command has begun, nor ever will: it may be started again in another directory.
	ErrNotStarted = errors.New("the run has not begun")
	// ErrNoResult is a run whose driver is gone without a result (killed, or the machine went down). What the driver had
	// started may still be there: Stop ends it.
	ErrNoResult = errors.New("the run ended without a result")
	// ErrUnreadable is a run whose own files are damaged: how it ended cannot be known. StopJob ends what is left of it.
	ErrUnreadable = errors.New("the files of the run are damaged")
	// ErrReleased is what Wait returns after Release.
	ErrReleased = errors.New("the run is no longer watched")
	// ErrNotFound is a status that was asked for where there is none: no such lab, or no lab at all.
	ErrNotFound = errors.New("no such lab")
)

// UnusableError is a Python interpreter with which Netlab cannot be run.
type UnusableError struct {
	// Python is the interpreter, empty where none was found.
	Python string
	// Problem says what is wrong, Remedy what to do about it.
	Problem, Remedy string

	installed stamps
}

func (e *UnusableError) Error() string { return e.Problem + "; " + e.Remedy }

// Changed says whether something was installed for the interpreter since then, as far as that can be seen: it may have been where the
// interpreter said nothing.
func (e *UnusableError) Changed() bool { return e.installed == nil || e.installed.changed() }

// LeftError is a run of which processes are left that could not be ended: they belong to another user (sudo's children, where
// this process may not use sudo itself), or hang within the kernel.
type LeftError struct {
	// Left names them, each as "123 (containerlab)".
	Left []string
}

func (e *LeftError) Error() string {
	return "processes are left that could not be stopped: " + strings.Join(e.Left, ", ") +
		"; end them as root, or let the worker's user run `sudo -n kill`"
}
