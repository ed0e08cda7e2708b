package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
)

// startOf is when a process began, in clock ticks.
func startOf(t *testing.T, pid int) int {
	t.Helper()
	stat := readFile(t, filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	begun, err := strconv.Atoi(strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[19])
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

func bootOf(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(readFile(t, "/proc/sys/kernel/random/boot_id"))
}

// A number is not a process: after a while, or another boot, it is another's.
func TestAttachKnowsAnotherProcess(t *testing.T) {
	t.Parallel()
	sleep := osexec.Command("sleep", "600")
	sleep.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	})
	begun, boot := startOf(t, sleep.Process.Pid), bootOf(t)
	for name, fence := range map[string]map[string]any{
		"later process": {"pid": sleep.Process.Pid, "start": begun - 1, "boot": boot},
		"another boot":  {"pid": sleep.Process.Pid, "start": begun, "boot": "00000000-0000-0000-0000-000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			content, err := json.Marshal(fence)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "driver.json"), string(content))
			p, err := exec.Attach(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			if _, err := p.Wait(testContext(t)); !errors.Is(err, exec.ErrNoResult) {
				t.Errorf("error %v", err)
			}
			if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Kill: patient}}); err != nil {
				t.Error(err)
			}
			if state := readFile(t, filepath.Join("/proc", strconv.Itoa(sleep.Process.Pid), "stat")); strings.Contains(state, ") Z ") {
				t.Errorf("it was stopped: %s", state)
			}
		})
	}
	unreadable := t.TempDir()
	if err := os.WriteFile(filepath.Join(unreadable, "driver.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Attach(unreadable, ""); err == nil || errors.Is(err, exec.ErrNotStarted) {
		t.Errorf("error %v", err)
	}
}
