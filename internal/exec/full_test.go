package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the disk is full, what a run records is left out or waits for room, and the run goes on.
func TestARecordOnAFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	dir := t.TempDir()
	for _, name := range []string{"progress", "errors"} {
		if err := os.Symlink("/dev/full", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	got := b.driver(t, `
import errno, os, threading, time
from netlab_driver import record
record.FULL_PAUSE, record.FULL_PATIENCE, record.POLL = 0.01, 0.02, 0.01
run = sys.argv[2]
recorder = record.Recorder(run, asks=True)
recorder.phase("left out")
recorder.errors(["left out too"])

def room():
    time.sleep(0.1)
    os.unlink(f"{run}/progress")
    open(f"{run}/progress", "w").close()
    while "question" not in open(f"{run}/progress").read():
        time.sleep(0.01)
    with open(f"{run}/verdict", "w") as f:
        json.dump({"refused": "no"}, f)
    os.rename(f"{run}/verdict", f"{run}/verdict.json")

threading.Thread(target=room).start()
assert recorder.ask({"name": "lab"}) == {"refused": "no"}

fsync, refused = os.fsync, 3
def full(fd):
    global refused
    refused -= 1
    if refused >= 0:
        raise OSError(errno.ENOSPC, "full")
    fsync(fd)
os.fsync = full
record.finish(run, {"exitCode": 0}, lambda: False)
assert json.load(open(f"{run}/result.json")) == {"exitCode": 0, "diskFull": True}
refused = 10**6
try:
    record.finish(run, {"exitCode": 1}, lambda: True)
except OSError:
    print("given up", end="")
`, dir)
	if got != "given up" {
		t.Error(got)
	}
	if recorded := strings.TrimSpace(readFile(t, filepath.Join(dir, "progress"))); recorded != `{"question": {"name": "lab"}}` {
		t.Error(recorded)
	}
}
