package account_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/test/asroot"
)

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func giveBack(t *testing.T, a *account.Account, dir string) int {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	n, err := a.GiveBack(root)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGiveBack(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	outside := openDir(t)
	dir := filepath.Join(outside, "lab")
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.MkdirAll(at("host_vars/r1"), 0o700),
		os.WriteFile(at("host_vars/r1/topology.yml"), nil, 0o600),
		os.WriteFile(at("clab.yml"), nil, 0o600),
		os.WriteFile(filepath.Join(outside, "target"), nil, 0o600),
		os.Symlink(filepath.Join(outside, "target"), at("link")),
		os.Symlink(outside, at("dirlink")),
		os.WriteFile(filepath.Join(outside, "linked"), nil, 0o600),
		os.Link(filepath.Join(outside, "linked"), at("hardlink")),
		os.WriteFile(at("theirs"), nil, 0o600), os.Lchown(at("theirs"), other.UID, other.GID),
		unix.Mkfifo(at("pipe"), 0o600),
		ignoreEPERM(unix.Mknod(at("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))),
		os.Chown(dir, a.UID, a.GID),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := giveBack(t, a, dir); n != 6 {
		t.Errorf("given: %d, want 6", n)
	}
	for _, name := range []string{"host_vars", "host_vars/r1", "host_vars/r1/topology.yml", "clab.yml", "link", "dirlink"} {
		if uid := ownerOf(t, at(name)); uid != a.UID {
			t.Errorf("%s belongs to %d, want the user", name, uid)
		}
	}
	for _, path := range []string{outside, filepath.Join(outside, "target"), filepath.Join(outside, "linked"), at("hardlink"), at("pipe"), at("device")} {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) && path == at("device") {
			continue // where no device can be made
		}
		if uid := ownerOf(t, path); uid != 0 {
			t.Errorf("%s belongs to %d, want root still", path, uid)
		}
	}
	if uid := ownerOf(t, at("theirs")); uid != other.UID {
		t.Errorf("what belonged to somebody else belongs to %d", uid)
	}
	if n := giveBack(t, a, dir); n != 0 {
		t.Errorf("given a second time: %d", n)
	}
}

func ignoreEPERM(err error) error {
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

func TestGiveBackCrossesNoMount(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	for name, mount := range map[string]func(from, to string){
		"bind":  func(from, to string) { asroot.Mount(t, from, to, "", unix.MS_BIND, "") },
		"tmpfs": func(_, to string) { asroot.Disk(t, to, "size=1m") },
	} {
		outside := openDir(t)
		dir, from := filepath.Join(outside, "lab"), filepath.Join(outside, "from")
		mounted := filepath.Join(dir, "mounted")
		for _, err := range []error{os.MkdirAll(mounted, 0o755), os.Mkdir(from, 0o755)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		mount(from, mounted)
		if err := os.WriteFile(filepath.Join(mounted, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		giveBack(t, a, dir)
		for _, path := range []string{mounted, filepath.Join(mounted, "file")} {
			if uid := ownerOf(t, path); uid != 0 {
				t.Errorf("%s: %s belongs to %d, want root still", name, path, uid)
			}
		}
	}
}

// TestGiveBackWhileTheUserMovesThings has a user who tries all the time to be given a file of root's that is elsewhere.
func TestGiveBackWhileTheUserMovesThings(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	outside := openDir(t)
	dir, target := filepath.Join(outside, "lab"), filepath.Join(outside, "target")
	for _, err := range []error{os.Mkdir(dir, 0o755), os.Chown(dir, a.UID, a.GID), os.WriteFile(target, nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		_ = a.Do(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				name := filepath.Join(dir, "name")
				_ = os.Remove(name)
				switch i % 3 {
				case 0:
					_ = os.WriteFile(name, nil, 0o600)
				case 1:
					_ = os.Symlink(target, name)
				default:
					_ = os.Link(target, name)
				}
			}
		})
	}()
	given := 0
	for range 1000 {
		_ = os.WriteFile(filepath.Join(dir, "of-root"), nil, 0o600)
		given += giveBack(t, a, dir)
		_ = os.Remove(filepath.Join(dir, "of-root"))
	}
	close(stop)
	<-stopped
	if uid := ownerOf(t, target); uid != 0 {
		t.Errorf("root's file belongs to %d", uid)
	}
	if given < 1000 {
		t.Errorf("given: %d of 1000", given)
	}
}

func TestGiveBackOfADeepTree(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	dir := openDir(t)
	if err := os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 300)), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	n, err := a.GiveBack(root)
	if err == nil || !strings.Contains(fmt.Sprint(err), "more than") || n < 100 {
		t.Errorf("given: %d, %v", n, err)
	}
	self, err := account.Self()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := self.GiveBack(root); n != 0 || err != nil {
		t.Errorf("to oneself: %d, %v", n, err)
	}
}
