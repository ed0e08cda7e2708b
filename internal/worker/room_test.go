package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/asroot"
)

// smallDisk makes the directory a disk of 1 MiB.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	asroot.Disk(t, dir, "size=1m,mode=777")
}

// fillDisk leaves no room on the disk of the directory, until it is called.
func fillDisk(t *testing.T, dir string) (empty func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk has room: %v", err)
	}
	return func() { must(t, os.Remove(file)) }
}

// A host that cannot take a job says why, and what to do, and takes it when that is done.
func TestAHostThatCannotTakeJobs(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { smallDisk(t, c.DataDir) })
	b.run()
	empty := fillDisk(t, b.config.DataDir)
	b.submit("j1", nil)
	want := "no space left on device: make room on the disk of NETLAB_WORKER_DATA_DIR, " + b.config.DataDir
	b.eventually("it says why", func() bool {
		got := b.worker.announcement().Error
		return strings.HasPrefix(got, "a request cannot be taken: journal: ") && strings.HasSuffix(got, want)
	})
	empty()
	b.next().result <- exec.Result{}
	b.await("j1", ended)
	if got := b.worker.announcement().Error; got != "" {
		t.Errorf("afterwards it says %q", got)
	}
}

func TestWhyARequestIsNotTaken(t *testing.T) {
	t.Parallel()
	w := &Worker{config: Config{DataDir: "/data"}}
	for err, remedy := range map[error]string{
		syscall.ENOSPC: ": make room on the disk of NETLAB_WORKER_DATA_DIR, /data",
		syscall.EDQUOT: ": make room on the disk of NETLAB_WORKER_DATA_DIR, /data",
		syscall.EROFS:  ": make NETLAB_WORKER_DATA_DIR, /data, writable",
		syscall.EACCES: ": make NETLAB_WORKER_DATA_DIR, /data, writable",
		syscall.EMFILE: ": let the program open more files, by LimitNOFILE= in its unit or ulimit -n in a shell",
		syscall.EIO:    "",
	} {
		_ = w.cannotTake(fmt.Errorf("journal: %w", err))
		if got, want := w.refusal.Load().text, "a request cannot be taken: journal: "+err.Error()+remedy; got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

// A disk that does not say how large it is is not full.
func TestADiskWithoutASize(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{"tmpfs": "size=0", "ramfs": ""} {
		dir := t.TempDir()
		asroot.Mount(t, name, dir, name, 0, options)
		if hasNoRoom(dir) {
			t.Errorf("a %s without a limit is full", name)
		}
	}
}

// A run that has failed on a full disk says which one it was, and that the host has failed and not the lab.
func TestARunOnAFullDisk(t *testing.T) {
	t.Parallel()
	said := &logged{}
	b := setup(t, said.into, func(c *Config) { smallDisk(t, c.DataDir) })
	work, state := filepath.Join(b.root, "work"), filepath.Join(b.root, "state")
	for _, dir := range []string{work, state} {
		must(t, os.Mkdir(dir, 0o777))
		smallDisk(t, dir)
	}
	b.run()
	nth := 0
	expect := func(what string, result exec.Result, action jobs.Action, full string, reason jobs.Reason, text string) {
		t.Helper()
		nth++
		id := fmt.Sprint("j", nth)
		birth := b.birth(id, action)
		birth.Workdir, birth.Request.StateRoot = filepath.Join(work, "lab"), state
		b.send(birth)
		run := b.next()
		empty := func() {}
		if full != "" {
			empty = fillDisk(t, full)
		}
		result.ExitCode, result.Error = 1, "netlab create ended with exit code 1"
		run.result <- result
		if full == b.config.DataDir {
			b.eventually("the disk is looked at", func() bool { return said.has("make room\" job=" + id + " dir=" + full) })
			empty() // which the end has to wait for
			empty = func() {}
		}
		job := &b.await(id, ended).Job
		empty()
		if want := result.Error + text; job.Reason != reason || *job.Error != want || job.ExitCode == nil || *job.ExitCode != 1 {
			t.Errorf("%s: %s, exit code %v\n got %s\nwant %s", what, job.Reason, job.ExitCode, *job.Error, want)
		}
	}
	expect("there is room", exec.Result{}, jobs.Create, "", jobs.ReasonNetlabFailed, "")
	expect("the working directory", exec.Result{}, jobs.Create, work, jobs.ReasonHostFailed,
		"; the disk of the working directory, "+filepath.Join(work, "lab")+", is full: make room there and submit the job again")
	expect("a job that does not write there", exec.Result{}, jobs.Validate, work, jobs.ReasonNetlabFailed, "")
	expect("Netlab says so itself", exec.Result{Errors: []jobs.Problem{{File: "topology.yml", Text: "Fatal error in pickle: [Errno 28]"}}}, jobs.Create, work,
		jobs.ReasonHostFailed, "; the disk of the working directory, "+filepath.Join(work, "lab")+", is full: make room there and submit the job again")
	expect("the state root", exec.Result{}, jobs.Create, state, jobs.ReasonHostFailed,
		"; the disk of Netlab's status file, "+state+", is full: make room there and submit the job again")
	expect("the data directory", exec.Result{}, jobs.Create, b.config.DataDir, jobs.ReasonHostFailed,
		"; the disk of NETLAB_WORKER_DATA_DIR, "+b.config.DataDir+", is full: make room there and submit the job again")
	expect("the result has waited for room", exec.Result{DiskFull: true}, jobs.Create, "", jobs.ReasonHostFailed,
		"; the disk of NETLAB_WORKER_DATA_DIR, "+b.config.DataDir+", was full: submit the job again")
}
