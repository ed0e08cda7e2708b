package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start begins the run in a session of its own, so that it outlives this process. The caller has to Release the returned
// process, or Wait for its end.
//
// Start fails where Dir was used before: a run begins once. After an error Attach tells whether it did.
func (n *Netlab) Start(r Run) (*Process, error) {
	p, err := n.start(&r)
	if err != nil {
		return nil, fmt.Errorf("starting a run: %w", err)
	}
	return p, nil
}

func (n *Netlab) start(r *Run) (*Process, error) {
	if err := r.makeDir(); err != nil {
		return nil, err
	}
	output, err := r.openOutput()
	if err != nil {
		return nil, err
	}
	defer output.Close()
	env, err := r.environment()
	if err != nil {
		return nil, err
	}
	defer env.Close()
	files := []*os.File{env}
	if r.WorkdirFile != nil {
		files = append(files, r.WorkdirFile)
	}
	if p := n.warm.start(r, append([]*os.File{output}, files...)...); p != nil {
		return p, nil
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}

	pidfd := -1
	args := []string{"run", r.Dir}
	for i := range files {
		args = append(args, strconv.Itoa(3+i)) // 3 is the first of ExtraFiles
	}
	cmd := n.command(context.Background(), driverEnvironment(n.Python, r.Job), args...)
	cmd.Dir = r.Dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// Our own child keeps its number and its line in /proc until we reap it: no need to wait for its fence.
	self, err := readProcess(cmd.Process.Pid)
	if err == nil && pidfd < 0 {
		err = errors.New("this kernel has no pidfd, Linux 5.3 or newer is needed")
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	p := newProcess(r.Dir, identity{PID: self.pid, Start: self.start, Boot: boot})
	p.job = r.Job
	p.watch(pidfd, cmd.Wait)
	return p, nil
}

// makeDir makes the run's directory with the plan in it.
func (r *Run) makeDir() error {
	if !filepath.IsAbs(r.Dir) {
		return fmt.Errorf("its directory %q is not an absolute path", r.Dir)
	}
	if r.User != nil && os.Geteuid() != 0 {
		return fmt.Errorf("only root can run it as another user (%d): run the worker as root, or set NETLAB_RUN_AS_USER to its own user", r.User.Uid)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if r.User != nil {
		// The user reads the plan and the verdict, and writes to what belongs to it; it makes no file.
		mode = 0o644
		if err := os.Chmod(r.Dir, 0o711); err != nil {
			return err
		}
	}
	content, err := json.Marshal(r.plan())
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(r.Dir, "plan.json"), content, mode)
}

func (r *Run) openOutput() (*os.File, error) {
	output, err := os.OpenFile(r.Output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil || r.User == nil {
		return output, err
	}
	// Scripts write to /dev/stderr by that name, which opens the file once more, with the rights of whoever does it.
	if err := output.Chown(int(r.User.Uid), int(r.User.Gid)); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	return output, nil
}

// environment returns a file, in memory and without a name, that the driver reads the environment of the commands from.
// Unlike a pipe it blocks nobody, whatever becomes of the driver.
func (r *Run) environment() (*os.File, error) {
	variables := make(map[string]string, len(r.Env)+1)
	for _, variable := range r.Env {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}
	if r.Job != "" {
		variables[jobVariable] = r.Job
	}
	content, err := json.Marshal(variables)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("environment", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("handing over the environment: %w", err)
	}
	file := os.NewFile(uintptr(fd), "environment")
	if _, err := file.Write(content); err != nil {
		return nil, errors.Join(fmt.Errorf("handing over the environment: %w", err), file.Close())
	}
	if _, err := file.Seek(0, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("handing over the environment: %w", err), file.Close())
	}
	return file, nil
}

// Attach returns the run in dir, which an earlier process may have started: one that is still going on, or one that has
// ended, whose result Wait then returns. ErrNotStarted: none of its commands has begun, and none will. ErrUnreadable: it
// cannot be known which process runs it; StopJob ends it. job is the Job that it was started with.
func Attach(dir, job string) (*Process, error) {
	driver, err := claimOrRead(dir)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", dir, err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", dir, err)
	}
	p := newProcess(dir, driver)
	p.job = job
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

// driverEnvironment is that of the driver itself. It runs nothing, so it needs no more than an interpreter does.
func driverEnvironment(python, job string) []string {
	env := probeEnvironment(python)
	if job != "" {
		env = append(env, jobVariable+"="+job)
	}
	return env
}
