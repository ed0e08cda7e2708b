package exec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// within fails where f takes long: what waits for a pipe waits for ever.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
}

// A run whose driver.json is gone has begun where the driver has left anything else: nobody may start it again.
func TestAFenceThatIsGone(t *testing.T) {
	t.Parallel()
	for _, trace := range []string{"progress", "result.json"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, trace), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := Attach(dir, ""); !errors.Is(err, ErrUnreadable) {
				t.Errorf("with %s: %v", trace, err)
			}
		}
	}
}

// What is no file in a run's directory is damage, and nothing waits for it.
func TestRunFilesThatAreNoFiles(t *testing.T) {
	t.Parallel()
	for kind, put := range map[string]func(string) error{
		"pipe":   func(name string) error { return unix.Mkfifo(name, 0o600) },
		"folder": func(name string) error { return os.Mkdir(name, 0o700) },
		"link":   func(name string) error { return os.Symlink("/nowhere", name) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range []string{"driver.json", "result.json", "progress", verdictFile} {
				if err := put(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			within(t, func() {
				if _, err := Attach(dir, ""); !errors.Is(err, ErrUnreadable) {
					t.Errorf("attach: %v", err)
				}
				if _, err := readResult(dir); !errors.Is(err, ErrUnreadable) {
					t.Errorf("result: %v", err)
				}
				if steps := (&progress{name: filepath.Join(dir, "progress")}).read(); steps != nil {
					t.Errorf("progress: %v", steps)
				}
				if _, ok := Claimed(dir); ok {
					t.Error("the verdict says yes")
				}
			})
		})
	}
}

// A run whose directory was removed may have done anything.
func TestADirectoryOfARunThatIsGone(t *testing.T) {
	t.Parallel()
	if _, err := readResult(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, ErrNoResult) {
		t.Error(err)
	}
}
