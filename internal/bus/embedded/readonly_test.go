package embedded

import (
	"strings"
	"testing"

	"netlab-runner/test/asroot"
)

// Room does not help where the disk is mounted read-only.
func TestAStoreThatIsReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	asroot.ReadOnly(t, dir)
	_, err := Start(t.Context(), Config{Dir: dir})
	const want = "NETLAB_API_DATA_DIR cannot be written: "
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "read-only file system: make it writable") {
		t.Errorf("it says %v", err)
	}
}
