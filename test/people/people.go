// Package people makes real users of this machine for a test, and a Python with Netlab that they can run.
package people

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/test/asroot"
)

// patience bounds the wait for the machine's files of users, which others may have locked.
const patience = 60 * time.Second

// Caller is the name of who runs the tests: whose rights the labs of most tests have.
func Caller(t testing.TB) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// Person is a user of this machine that was made for a test.
type Person struct {
	Name     string
	UID, GID int
	Home     string
	// Group is a group of the user's besides the first one.
	Group int
}

// New makes a user with a home below the folder dir and a group besides the first one, all of which go with the test. It skips
// the test where that is impossible. Names of users that are made in one test differ, and so do those of tests at the same time.
func New(t testing.TB, dir string) *Person {
	t.Helper()
	asroot.Need(t, "users are made for this test")
	if _, err := exec.LookPath("useradd"); err != nil {
		asroot.Missing(t, "users are made for this test, and there is no useradd: install the package passwd or shadow")
	}
	name := fmt.Sprintf("nle%d-%s", os.Getpid()%100000, strconv.FormatInt(time.Now().UnixNano()%1_000_000_000_000, 36))
	p := &Person{Name: name, Home: filepath.Join(dir, name)}
	change(t, "groupadd", name+"g")
	t.Cleanup(func() { change(t, "groupdel", name+"g") })
	change(t, "useradd", "-m", "--home-dir", p.Home, "--shell", "/bin/sh", "--user-group", "--groups", name+"g", name)
	t.Cleanup(func() { change(t, "userdel", "--force", "--remove", name) })
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroup(name + "g")
	if err != nil {
		t.Fatal(err)
	}
	for number, text := range map[*int]string{&p.UID: account.Uid, &p.GID: account.Gid, &p.Group: group.Gid} {
		if *number, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Dir makes a directory that every user can come to, unlike the test's own. It goes with the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "people-")
	if err == nil {
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
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

// change runs a program that changes the machine's users, again while another one has their files locked.
func change(t testing.TB, program string, args ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command(program, args...).CombinedOutput()
		gone := program != "useradd" && strings.Contains(string(out), "does not exist")
		// A home that the test has removed, a mailbox that there never was.
		homeless := program == "userdel" && err != nil && strings.Contains(string(out), "not found")
		if err == nil || gone || homeless {
			return
		}
		if !strings.Contains(string(out), "lock") || time.Now().After(end) {
			t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
		}
	}
}

// Own makes the user the owner of the folder and of all below it.
func (p *Person) Own(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, p.UID, p.GID))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Credential is what a process of the user's has.
func (p *Person) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: uint32(p.UID), Gid: uint32(p.GID), Groups: []uint32{uint32(p.GID), uint32(p.Group)}}
}
