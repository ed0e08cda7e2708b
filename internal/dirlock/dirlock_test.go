package dirlock_test

import (
	"errors"
	"testing"

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
