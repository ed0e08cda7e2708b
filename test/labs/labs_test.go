package labs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/labs"
	"netlab-runner/test/standins"
)

// create generates the sample lab in dir and returns output and exit code (-1: by a signal).
func create(t *testing.T, dir string) (string, int) {
	t.Helper()
	cmd := command(t, dir)
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(output), cmd.ProcessState.ExitCode()
}

func command(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	python := standins.Python(t)
	cmd := exec.Command(filepath.Join(filepath.Dir(python), "netlab"), "create", "-q")
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + t.TempDir(), "PWD=" + dir, "PATH=" + filepath.Dir(python) + ":/usr/bin:/bin",
		"LANG=C.UTF-8", "NO_COLOR=1", "PYTHONDONTWRITEBYTECODE=1",
	}
	return cmd
}

func TestLabsAreGenerated(t *testing.T) {
	t.Parallel()
	for lab, file := range map[string]string{
		"frr3": "clab.yml", "linux2": "clab.yml", "chatter": "clab.yml", "external": "external.txt",
	} {
		t.Run(lab, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			labs.Copy(t, lab, dir)
			if output, code := create(t, dir); code != 0 {
				t.Fatalf("exit code %d:\n%s", code, output)
			}
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBrokenLabIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	labs.Copy(t, "broken", dir)
	output, code := create(t, dir)
	if code != 1 || !strings.Contains(output, "unknown node r8") || !strings.Contains(output, "unknown node r9") {
		t.Errorf("exit code %d, want 1 and both errors:\n%s", code, output)
	}
}

func TestChatter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options string
		code    int
		want    string
	}{
		"lines":     {`{"lines": 3, "bytes": 30}`, 0, "chatter 2 of 3 ..............\nchatter 3 of 3"},
		"exception": {`{"crash": "exception"}`, 1, "RuntimeError: chatter"},
		"exit":      {`{"lines": 1, "crash": "exit"}`, 3, "chatter 1 of 1"},
		"kill":      {`{"lines": 1, "crash": "kill"}`, -1, "chatter 1 of 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			labs.Copy(t, "chatter", dir)
			drive(t, dir, test.options)
			output, code := create(t, dir)
			if code != test.code || !strings.Contains(output, test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, test.code, test.want, output)
			}
		})
	}
}

func TestChatterWaitsAtItsGate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	labs.Copy(t, "chatter", dir)
	drive(t, dir, `{"gate": "gate"}`)
	cmd := command(t, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	deadline := time.Now().Add(time.Minute)
	for _, err := os.Stat(filepath.Join(dir, "gate.reached")); err != nil; _, err = os.Stat(filepath.Join(dir, "gate.reached")) {
		if time.Now().After(deadline) {
			t.Fatal("the gate is not reached")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func drive(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "chatter.json"), []byte(options), 0o644); err != nil {
		t.Fatal(err)
	}
}
