package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"netlab-runner/internal/jobs"
)

// Result is how a run ended, as its driver wrote it.
type Result struct {
	// ExitCode is that of the command that ended the run: 0 where all succeeded, 128+N where signal N killed it.
	ExitCode int `json:"exitCode"`
	// Error says why ExitCode is not 0: Netlab's own text, the cause first, several lines at times. 4,000 characters at most.
	Error string `json:"error"`
	// Command is the last command that began, Phase its last phase ("" where it had none).
	Command string `json:"command"`
	Phase   string `json:"phase"`
	// HostFault says that no command is to blame: Netlab cannot be imported, or the working directory cannot be entered.
	HostFault bool `json:"hostFault"`
	// Invalid says that the request is to blame, not Netlab: it was refused by Answer, or it cannot be carried out.
	Invalid bool `json:"invalid"`
	// Stopped says that a signal had come, whatever the exit code, or has killed the command: what the run leaves behind is for Stop to end.
	Stopped bool `json:"stopped"`
	// DiskFull says that the result had to wait for room on the disk of the run's directory.
	DiskFull bool `json:"diskFull,omitempty"`
	// Errors are Netlab's errors as data: of a validate, and of a create or an up that Netlab could not generate. 200 at most.
	Errors []jobs.Problem `json:"errors"`
	// Warnings are what was done otherwise than the request says. 20 at most.
	Warnings []string `json:"warnings"`
	// Commands are those that began, in their order.
	Commands []CommandResult `json:"commands"`
}

// CommandResult is how one command ended.
type CommandResult struct {
	Name       string    `json:"name"`
	ExitCode   int       `json:"exitCode"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
}

// HasResult says whether the run in dir has written how it ended.
func HasResult(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "result.json"))
	return err == nil
}

// readResult returns the result of a run whose driver is gone.
func readResult(dir string) (Result, error) {
	var result Result
	content, err := readRunFile(filepath.Join(dir, "result.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return result, whyNoResult(dir)
	}
	if err != nil {
		return result, fmt.Errorf("reading the result of a run: %w", err)
	}
	if err := json.Unmarshal(content, &result); err != nil {
		return result, fmt.Errorf("reading the result of a run: %w: %w", ErrUnreadable, err)
	}
	// Without it any object would be a success.
	var told struct{ ExitCode *int }
	if err := json.Unmarshal(content, &told); err != nil || told.ExitCode == nil {
		return Result{}, fmt.Errorf("reading the result of a run: %w: it has no exit code", ErrUnreadable)
	}
	return result, nil
}

func whyNoResult(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s was removed", ErrNoResult, dir) // with whatever it had of the run
	}
	// A driver that ended before it had made its fence has done nothing. Fence it off all the same: it may be a child of
	// ours that is only about to begin.
	switch _, err := claimOrRead(dir); {
	case errors.Is(err, ErrNotStarted):
		return fmt.Errorf("%s: %w", dir, ErrNotStarted)
	case isShort(err):
		return err
	}
	return fmt.Errorf("%s: %w", dir, ErrNoResult)
}
