package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The copy that a validate works in has all that a topology may use, no way back into the lab, and a limit.
func TestScratchCopy(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": "a", "clab.yml": "generated", "big.img": strings.Repeat("x", 2000), "run.sh": "run"})
	outside := t.TempDir()
	writeFile(t, outside+"/shared.yml", "b")
	for path, to := range map[string]string{
		"file": outside + "/shared.yml", "folder": outside, "within": "sub/deep.yml", "itself": ".", "nowhere": "nothing", "sub/up": "..",
	} {
		if err := os.MkdirAll(b.workdir+"/sub", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(b.workdir, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(".", outside+"/loop"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(b.workdir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(b.workdir+"/run.sh", 0o750); err != nil {
		t.Fatal(err)
	}
	writeFile(t, b.workdir+"/sub/deep.yml", "c")
	before := snapshotOf(t, b.workdir) + snapshotOf(t, outside)

	const lay = `
import sys, types
package = types.ModuleType("netlab_driver")
package.__path__ = [sys.argv[1]]
sys.modules["netlab_driver"] = package
from netlab_driver import scratch
scratch.FILE_LIMIT, scratch.ENTRY_LIMIT = 1000, int(sys.argv[3])
scratch.lay_out(sys.argv[2])
for name in "topology.yml", "file", "folder/shared.yml", "within", "sub/deep.yml", "sub/up/topology.yml":
    with open(name, "a") as f:
        f.write("written")
`
	driver, err := filepath.Abs("driver")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	log := b.python(t, lay, driver, parent, "100")
	mustContain(t, log, "done without", "big.img (larger than", "pipe (not a regular file)")
	copied := filepath.Join(parent, "lab")
	for name, want := range map[string]string{"file": "bwritten", "folder/shared.yml": "bwritten", "sub/deep.yml": "cwrittenwritten", "run.sh": "run"} {
		if diff := cmp.Diff(want, readFile(t, filepath.Join(copied, name))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if info, err := os.Stat(copied + "/run.sh"); err != nil || info.Mode() != 0o750 {
		t.Errorf("%v, %v", info, err)
	}
	for _, name := range []string{"clab.yml", "big.img", "pipe", "folder/loop"} {
		if _, err := os.Lstat(filepath.Join(copied, name)); err == nil {
			t.Errorf("%s is copied", name)
		}
	}
	if diff := cmp.Diff(before, snapshotOf(t, b.workdir)+snapshotOf(t, outside)); diff != "" {
		t.Error(diff)
	}

	// Of too many files the upper ones are there.
	if err := os.RemoveAll(copied); err != nil {
		t.Fatal(err)
	}
	log = b.python(t, strings.Split(lay, "for name")[0], driver, parent, "10")
	mustContain(t, log, "done without", "there are more than 10 files")
	if readFile(t, copied+"/topology.yml") != "a" {
		t.Error("topology.yml is not there")
	}
	if _, err := os.Lstat(copied + "/sub/deep.yml"); err == nil {
		t.Error("sub/deep.yml is there")
	}
}
