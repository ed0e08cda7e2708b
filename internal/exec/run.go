package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Command is one command of a run: one of Netlab's, or the driver's own "status" (Args: an instance, or none), which prints
// the table of the lab's nodes.
type Command struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	// AbsentOK makes a command that needs a lab succeed, with a line in the log that says "not found", where the working
	// directory has no snapshot.
	AbsentOK bool `json:"absentOK,omitempty"`
}

// Run is what to run.
type Run struct {
	// Dir is the run's own directory, absolute. It is made where it does not exist, and used for no other run.
	Dir string
	// Output is the file that all output is appended to. It is made with mode 0600 where it does not exist.
	Output string
	// Workdir is the working directory, absolute. It has to exist.
	Workdir string
	// StatusFile is Netlab's status file, for every command alike. Empty: Netlab's own, in the home directory.
	StatusFile string
	// Commands run one after the other until one fails.
	Commands []Command
	// Env is the whole environment, KEY=value: see Environment. It is nowhere on disk and on no command line.
	Env []string
	// SnapshotYAML leaves netlab.snapshot.yml in the working directory after a create or an up.
	SnapshotYAML bool
}

// plan is plan.json, what the driver is told.
type plan struct {
	Oldest       string    `json:"oldest"`
	Workdir      string    `json:"workdir"`
	StatusFile   string    `json:"statusFile"`
	Commands     []Command `json:"commands"`
	SnapshotYAML bool      `json:"snapshotYAML"`
}

// Start begins the run in a session of its own, so that it outlives this process. The caller has to Release the returned
// process, or Wait for its end.
//
// Start fails where Dir was used before: a run begins once. After an error Attach tells whether it did.
func (n *Netlab) Start(r Run) (*Process, error) {
	if !filepath.IsAbs(r.Dir) {
		return nil, fmt.Errorf("starting a run: its directory %q is not an absolute path", r.Dir)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	content, err := json.Marshal(plan{
		Oldest: MinVersion, Workdir: r.Workdir, StatusFile: r.StatusFile, Commands: r.Commands, SnapshotYAML: r.SnapshotYAML,
	})
	if err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	if err := writeSynced(filepath.Join(r.Dir, "plan.json"), content, 0o600); err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	output, err := os.OpenFile(r.Output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	defer output.Close()
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}

	pidfd := -1
	cmd := n.command(context.Background(), r.Env, "run", r.Dir)
	cmd.Dir = r.Dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	// Our own child keeps its number and its line in /proc until we reap it: no need to wait for its fence.
	self, err := readProcess(cmd.Process.Pid)
	if err == nil && pidfd < 0 {
		err = fmt.Errorf("this kernel has no pidfd, Linux 5.3 or newer is needed")
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	p := newProcess(r.Dir, identity{PID: self.pid, Start: self.start, Boot: boot})
	p.watch(pidfd, cmd.Wait)
	return p, nil
}

// Attach returns the run in dir, which an earlier process may have started: one that is still going on, or one that has
// ended, whose result Wait then returns. ErrNotStarted: none of its commands has begun, and none will.
func Attach(dir string) (*Process, error) {
	driver, err := claimOrRead(dir)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", dir, err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", dir, err)
	}
	p := newProcess(dir, driver)
	if driver.Boot != boot {
		p.sameBoot = false
		p.watch(-1, nil)
		return p, nil
	}
	pidfd, err := openPidfd(driver)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", dir, err)
	}
	p.watch(pidfd, nil)
	return p, nil
}
