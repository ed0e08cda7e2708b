// Package asroot is for tests of what only root can do: to mount, and to make files and processes those of other users.
package asroot

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Required says that a test that cannot do what root can is to fail, as NETLAB_TEST_ROOT=required has it: else it is skipped.
func Required() bool { return os.Getenv("NETLAB_TEST_ROOT") != "" }

// Missing ends a test that lacks what the text says.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf(format+" (NETLAB_TEST_ROOT is set: without it the test is skipped)", args...)
	}
	t.Skipf(format, args...)
}

// Need ends a test that is not root's. why says what only root can do.
func Need(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "%s, which only root can do: run it as root", why)
	}
}

// Disk makes the directory a disk of its own, of tmpfs with these options ("size=1m"), until the test ends.
func Disk(t testing.TB, dir, options string) { t.Helper(); Mount(t, "tmpfs", dir, "tmpfs", 0, options) }

// ReadOnly has nobody write in the directory until the test ends.
func ReadOnly(t testing.TB, dir string) {
	t.Helper()
	Mount(t, dir, dir, "", unix.MS_BIND, "")
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		Missing(t, "nothing can be mounted read-only here: %v", err)
	}
}

// Mount is mount(2), until the test ends.
func Mount(t testing.TB, source, dir, kind string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, flags, options); err != nil {
		Missing(t, "nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("error unmounting %s: %v", dir, err)
		}
	})
}
