package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An up starts `netlab initial`, which starts Ansible: that process has Netlab imported from the beginning, and is otherwise as one of its own.
func TestUpForksTheNetlabThatItStarts(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": external})
	b.path = filepath.Join(b.root, "bin")
	if err := os.MkdirAll(b.path, 0o755); err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
tr '\0' ' ' < /proc/$PPID/cmdline > $(dirname $0)/starter
echo -n $(ls /proc/$PPID/fd | wc -w) "$(pwd)" > $(dirname $0)/around
`
	if err := os.WriteFile(filepath.Join(b.path, "ansible-playbook"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, b.startForked(t, b.run(t, up()))); result.ExitCode != 0 {
		t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
	}
	starter := readFile(t, filepath.Join(b.path, "starter"))
	if !strings.Contains(starter, "/main.py run ") {
		t.Errorf("Ansible was started by %s", starter)
	}
	if around, want := readFile(t, filepath.Join(b.path, "around")), "3 "+b.workdir; around != want {
		t.Errorf("descriptors and directory of the process: %q, want %q", around, want)
	}
}
