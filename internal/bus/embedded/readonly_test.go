package embedded

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Room does not help where the disk is mounted read-only.
func TestAStoreThatIsReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("nothing can be mounted read-only here: %v", err)
	}
	_, err := Start(t.Context(), Config{Dir: dir})
	const want = "NETLAB_API_DATA_DIR cannot be written: "
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "read-only file system: make it writable") {
		t.Errorf("it says %v", err)
	}
}
