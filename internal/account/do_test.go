package account_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"netlab-runner/internal/account"
)

// rights are the lines of a thread's status that say whose rights it has.
func rights() (string, error) {
	text, err := os.ReadFile("/proc/thread-self/status")
	var lines []string
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == "Uid" || name == "Gid" || name == "Groups" || name == "CapEff" {
			lines = append(lines, name+" "+strings.Join(strings.Fields(value), " "))
		}
	}
	return strings.Join(lines, "; "), err
}

func TestDoHasTheRightsOfTheUser(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	dir := openDir(t)
	secret := filepath.Join(dir, "secret")
	shared := filepath.Join(dir, "shared")
	for _, err := range []error{
		os.WriteFile(secret, []byte("root's"), 0o600),
		os.Mkdir(shared, 0o777), os.Chmod(shared, 0o777),
		os.WriteFile(filepath.Join(other.Home, "private"), []byte("theirs"), 0o600), os.Chown(filepath.Join(other.Home, "private"), other.UID, other.GID),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	err := a.Do(func() error {
		for _, closed := range []string{secret, "/etc/shadow", filepath.Join(other.Home, "private")} {
			if _, err := os.ReadFile(closed); !errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("reading %s: %w", closed, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("writing into root's directory: %w", err)
		}
		if err := os.Chown(shared, a.UID, a.GID); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("taking root's directory: %w", err)
		}
		return os.WriteFile(filepath.Join(shared, "mine"), nil, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(shared, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != a.UID || int(stat.Gid) != a.GID {
		t.Errorf("the file belongs to %d:%d, want %d:%d", stat.Uid, stat.Gid, a.UID, a.GID)
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("root's own rights afterwards: %v", err)
	}
}

func TestDoHasTheGroupsOfTheUser(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	a.Groups = append(a.Groups, other.GID)
	file := filepath.Join(openDir(t), "file")
	for _, err := range []error{os.WriteFile(file, []byte("for the group"), 0o640), os.Chown(file, 0, other.GID)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Do(func() error { _, err := os.ReadFile(file); return err }); err != nil {
		t.Errorf("reading with a further group: %v", err)
	}
	a.Groups = nil
	if err := a.Do(func() error { _, err := os.ReadFile(file); return err }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("reading without it: %v", err)
	}
}

// TestDoLeavesNoThread looks at every other thread while many have other rights, and at all of them afterwards.
func TestDoLeavesNoThread(t *testing.T) {
	t.Parallel()
	a, b := newUser(t), newUser(t)
	before, err := rights()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			who := []*account.Account{a, b}[i%2]
			err := who.Do(func() error {
				is, err := rights()
				for _, want := range []string{"Uid 0 0 0 " + strconv.Itoa(who.UID), "Gid 0 0 0 " + strconv.Itoa(who.GID)} {
					if !strings.Contains(is, want) {
						return fmt.Errorf("the rights are %s: want %s", is, want)
					}
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if is, err := rights(); err != nil || is != before {
				t.Errorf("a thread beside has %s, %v, want %s", is, err, before)
			}
		})
	}
	wg.Wait()
	for range 50 {
		wg.Go(func() {
			if is, err := rights(); err != nil || is != before {
				t.Errorf("afterwards a thread has %s, %v, want %s", is, err, before)
			}
		})
	}
	wg.Wait()
}

func TestDoPassesOnHowItEnds(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	wrong := errors.New("wrong")
	if err := a.Do(func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("an error comes back as %v", err)
	}
	if err := a.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("a goroutine that ended is no error")
	}
	defer func() {
		if got := recover(); got != "oh" {
			t.Errorf("a panic comes back as %v", got)
		}
	}()
	_ = a.Do(func() error { panic("oh") })
}
