package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/bus"
)

// keys are the files that are made on first use, and how they are.
var keys = map[string]func(file string) error{
	"host.key": func(file string) error { _, err := bus.LoadHostKey(file); return err },
	"bus.nk":   func(file string) error { _, err := loadOrMakeUser(file); return err },
}

// A key that finds no room leaves nothing behind, and is made when there is some.
func TestAKeyOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, load := range keys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := smallDisk(t, 64<<10)
			ballast := filepath.Join(dir, "ballast")
			_ = os.WriteFile(ballast, make([]byte, 128<<10), 0o600) // as much as fits
			file := filepath.Join(dir, name)
			if err := load(file); err == nil {
				t.Fatal("it is written onto a full disk")
			}
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is there: %v", err)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if err := load(file); err != nil {
				t.Errorf("with room again: %v", err)
			}
		})
	}
}

// A key that is empty, of a power cut say, is made anew. One with content is another's to remove, whatever the content.
func TestAKeyThatIsEmpty(t *testing.T) {
	t.Parallel()
	for name, load := range keys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), name)
			write := func(text string) {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("")
			if err := load(file); err != nil {
				t.Fatal(err)
			}
			made, err := os.ReadFile(file)
			if err != nil || len(made) == 0 {
				t.Fatalf("%q %v", made, err)
			}
			if err := load(file); err != nil {
				t.Errorf("the next time: %v", err)
			}
			for _, torn := range []string{"\n", string(made[:20])} {
				write(torn)
				if err := load(file); err == nil || !strings.Contains(err.Error(), "remove the file") {
					t.Errorf("with %q: %v", torn, err)
				}
				if text, err := os.ReadFile(file); string(text) != torn {
					t.Errorf("%q became %q, %v", torn, text, err)
				}
			}
		})
	}
}
