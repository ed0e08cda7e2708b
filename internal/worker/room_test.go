package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// smallDisk makes the directory a disk of 1 MiB.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=777"); err != nil {
		t.Skipf("no disk of its own can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// fillDisk leaves no room on the disk of the directory, until it is called.
func fillDisk(t *testing.T, dir string) (empty func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
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
	for end := time.Now().Add(limit); b.worker.announcement().Error == ""; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is said")
		}
	}
	got, want := b.worker.announcement().Error, "no space left on device: make room on the disk of NETLAB_WORKER_DATA_DIR, "+b.config.DataDir
	if !strings.HasPrefix(got, "a request cannot be taken: journal: ") || !strings.HasSuffix(got, want) {
		t.Errorf("it says %q", got)
	}
	empty()
	b.next().result <- exec.Result{}
	b.await("j1", ended)
	if got := b.worker.announcement().Error; got != "" {
		t.Errorf("afterwards it says %q", got)
	}
}

// A run that has failed on a full disk says which one it was, and that the host has failed and not the lab.
func TestARunOnAFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	smallDisk(t, b.root)
	b.run()
	end := func(id string) *jobs.Job {
		b.submit(id, nil)
		run := b.next()
		if id == "full" {
			fillDisk(t, b.root)
		}
		run.result <- exec.Result{ExitCode: 1, Error: "netlab create ended with exit code 1"}
		return &b.await(id, ended).Job
	}
	job := end("room")
	if job.Reason != jobs.ReasonNetlabFailed || strings.Contains(*job.Error, "full") {
		t.Errorf("with room: %s, %s", job.Reason, *job.Error)
	}
	job = end("full")
	want := "netlab create ended with exit code 1; the disk of the working directory, " + filepath.Join(b.root, "full") + ", is full: make room there and submit the job again"
	if job.Reason != jobs.ReasonHostFailed || *job.Error != want || job.ExitCode == nil || *job.ExitCode != 1 {
		t.Errorf("without: %s, %s, exit code %v", job.Reason, *job.Error, job.ExitCode)
	}
}
