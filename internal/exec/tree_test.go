package exec

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// stubborn starts a process in a session of its own that ends by SIGKILL, or by SIGUSR1 with a word about it in the file told.
func stubborn(t *testing.T, told string) process {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.Command("sh", "-c", `trap "" INT TERM; trap 'echo hurried > "$1"; exit' USR1; : > "$2"; while :; do sleep 0.05; done`,
		"sh", told, ready)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it did not begin")
		}
	}
	q, err := readProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// A driver that still waits, for somebody who cannot be ended, is told to write the result before it is killed.
func TestStopHurriesTheDriver(t *testing.T) {
	t.Parallel()
	told := filepath.Join(t.TempDir(), "told")
	driver := stubborn(t, told)
	if err := stop(t.Context(), &tree{driver: driver.identity()}, StopOptions{Grace: Grace{Kill: time.Minute}}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(told); err != nil {
		t.Errorf("it was killed: %v", err)
	}
}

func TestTreeIsNobodyElses(t *testing.T) {
	t.Parallel()
	q := stubborn(t, filepath.Join(t.TempDir(), "told"))
	for name, other := range map[string]*tree{
		"later process":  {driver: identity{PID: q.pid, Start: q.start - 1}},
		"nobody":         {},
		"unknown driver": {job: "no-such-job"},
	} {
		living, err := other.living()
		if err != nil || len(living) != 0 {
			t.Errorf("%s: %v, %v", name, living, err)
		}
	}
	living, err := (&tree{driver: q.identity()}).living()
	if err != nil || len(living) == 0 {
		t.Errorf("%v, %v", living, err)
	}
}

// A job is known by its processes, each of which says it once.
func TestJobsThatHaveProcesses(t *testing.T) {
	t.Parallel()
	for range 2 {
		cmd := exec.Command("sleep", "60")
		cmd.Env = []string{"OTHER_RUNNER_JOB=no-job", jobVariable + "=job-of-tree", "LAST=x"}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	found, err := Jobs()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, job := range found {
		count[job]++
	}
	if count["job-of-tree"] != 1 || count["no-job"] != 0 {
		t.Errorf("%v", count)
	}
}
