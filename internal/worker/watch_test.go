package worker

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The kernel tells of a change; nobody looks from time to time.
func TestWatch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := watch(file)
	defer w.stop()
	if w.look != nil {
		t.Fatal("the file is looked at instead of watched")
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.events:
	case <-time.After(20 * time.Second):
		t.Error("no event of a write")
	}
}

func TestWatchWhereTheKernelGivesNone(t *testing.T) {
	t.Parallel()
	// What cannot be watched, for whatever reason, is looked at.
	w := watch(filepath.Join(t.TempDir(), "none"))
	defer w.stop()
	select {
	case <-w.look:
	case <-time.After(20 * time.Second):
		t.Error("nobody looks")
	}
}
