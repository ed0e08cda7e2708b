package settings

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDone says that --help or --version was asked for and has been written: the program ends with exit code 0.
var ErrDone = errors.New("nothing to run: help or version was asked for")

// errHelp and errVersion carry the two requests out of the library's hooks.
var (
	errHelp    = errors.New("help asked for")
	errVersion = errors.New("version asked for")
)

// Fault is one thing that is wrong with what was given.
type Fault struct {
	// Variable is the environment variable of the setting, or the unknown name itself.
	Variable string
	// Where names the setting for the reader: its flag, its variable and, where the value came from the file, its line there.
	Where string
	// Text says what is wrong and the remedy. It never holds a secret.
	Text string
}

// String is the fault on one line.
func (f Fault) String() string {
	where := f.Where
	if where == "" {
		where = f.Variable
	}
	return where + ": " + f.Text
}

// Invalid is the error of settings that cannot be used; it holds every fault that was found.
type Invalid struct {
	Faults []Fault
}

// Error tells one fault on one line, several on a line each below a heading.
func (e *Invalid) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].String()
	}
	lines := []string{fmt.Sprintf("%d faults in the settings:", len(e.Faults))}
	for _, f := range e.Faults {
		lines = append(lines, "  "+f.String())
	}
	return strings.Join(lines, "\n")
}

func faultf(variable, format string, args ...any) Fault {
	return Fault{Variable: variable, Text: fmt.Sprintf(format, args...)}
}
