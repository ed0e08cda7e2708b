package account_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netlab-runner/internal/account"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for other programs that change the machine's users.
const limit = 90 * time.Second

var users atomic.Int32

// needRoot skips a test that only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test makes users and files of theirs, for which it has to be root")
	}
}

// newUser makes a user of this machine, with a home, for the time of the test.
func newUser(t *testing.T) *account.Account {
	t.Helper()
	needRoot(t)
	name := fmt.Sprintf("nra%d-%d", os.Getpid(), users.Add(1))
	change(t, "useradd", "-m", "-d", filepath.Join("/home", name), "-s", "/bin/sh", name)
	t.Cleanup(func() { change(t, "userdel", "-r", name) })
	a, err := account.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// change runs a program that changes the machine's users, again while another one has them locked.
func change(t *testing.T, argv ...string) {
	t.Helper()
	var output []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if output, err = exec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil {
			return
		}
		text := string(output)
		if !strings.Contains(text, "lock") && !strings.Contains(text, "currently used by process") {
			// userdel says exit code 12 where there is no mail box, and has done its work.
			if argv[0] == "userdel" && !strings.Contains(text, "cannot") {
				return
			}
			break
		}
	}
	t.Fatalf("%s: %s", strings.Join(argv, " "), output)
}

// openDir is a directory that everybody can enter and nobody but root can write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "account-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
