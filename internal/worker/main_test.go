package worker

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netlab-runner/internal/account"
)

// limit is how long a test waits for what has to come.
const limit = 90 * time.Second

func TestMain(m *testing.M) {
	// The labs of whoever runs the tests are nobody's business.
	home, err := os.MkdirTemp("", "worker-test-home-")
	if err == nil {
		err = os.Setenv("HOME", home)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// publicDir is a directory that every user can come to, unlike the test's own.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "worker-test-")
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var users atomic.Int32

// newUser makes a user of this machine, with a home, for the time of the test.
func newUser(t *testing.T) *account.Account {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test makes users and files of theirs, for which it has to be root")
	}
	name := fmt.Sprintf("nrw%d-%d", os.Getpid(), users.Add(1))
	changeUsers(t, "useradd", "-m", "-d", filepath.Join("/home", name), "-s", "/bin/sh", name)
	t.Cleanup(func() { changeUsers(t, "userdel", "-r", name) })
	a, err := account.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// changeUsers runs a program that changes the machine's users, again while another one has them locked.
func changeUsers(t *testing.T, argv ...string) {
	t.Helper()
	var output []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if output, err = osexec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil {
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

// own makes the user the owner of a directory, made where it is not there.
func own(t *testing.T, a *account.Account, dir string) string {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755), os.Chown(dir, a.UID, a.GID))
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantWords fails unless the text has all the words.
func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}
