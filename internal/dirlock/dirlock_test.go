package dirlock_test

import (
	"errors"
	"testing"
	"time"

	"netlab-runner/internal/dirlock"
)

func TestADirectoryHasOneHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := dirlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dirlock.Take(dir); !errors.Is(err, dirlock.ErrInUse) {
		t.Fatalf("a second holder: %v", err)
	}
	first.Release()
	again, err := dirlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
	if _, err := dirlock.Take(dir + "/none"); err == nil || errors.Is(err, dirlock.ErrInUse) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// A holder that is about to let go is waited for.
func TestAHolderThatLetsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := dirlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Long enough that the second one has looked; too late only on a machine that stands still for two seconds.
	timer := time.AfterFunc(200*time.Millisecond, first.Release)
	defer timer.Stop()
	second, err := dirlock.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
}
