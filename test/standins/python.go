package standins

import (
	"os"
	"path/filepath"
	"testing"
)

// Python is the interpreter of the virtual environment with Netlab and Ansible that tests use: NETLAB_TEST_PYTHON, else
// .venv/bin/python in the root of the repository. The test ends if there is neither.
func Python(t testing.TB) string {
	t.Helper()
	if python := os.Getenv("NETLAB_TEST_PYTHON"); python != "" {
		return python
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		python := filepath.Join(dir, ".venv", "bin", "python")
		if _, err := os.Stat(python); err == nil {
			return python
		}
		break
	}
	t.Fatal("no Python with Netlab: make one with `make build`, which puts Netlab into .venv, " +
		"or set NETLAB_TEST_PYTHON to the interpreter of a virtual environment that has networklab and ansible")
	return ""
}
