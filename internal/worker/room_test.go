package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// A run that has failed on a full disk says which one it was, and that the host has failed and not the lab.
func TestARunOnAFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := unix.Mount("tmpfs", b.root, "tmpfs", 0, "size=1m,mode=777"); err != nil {
		t.Skipf("no disk of its own can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(b.root, unix.MNT_DETACH) })
	b.run()
	end := func(id string) *jobs.Job {
		b.submit(id, nil)
		run := b.next()
		if id == "full" {
			must(t, os.WriteFile(filepath.Join(b.root, "filler"), make([]byte, 1<<20-leastRoom), 0o600))
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
