package standins

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// KeepsNetlabReady says whether there is a process that runs are forked from, with its driver below the directory.
func KeepsNetlabReady(t testing.TB, dir string) bool {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err == nil && bytes.Contains(line, []byte(dir)) && bytes.Contains(line, []byte("main.py\x00warm\x00")) {
			return true
		}
	}
	return false
}
