package view

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netlab-runner/test/formats"
)

// The cursor of an API of any release is read as what it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 11, 26, 12, 0, 0, 7, time.UTC)
	formats.Check(t, formats.Format{
		Name: "cursor", Type: cursorState{},
		Sample: func(t *testing.T) []byte {
			c := &cursor{file: filepath.Join(t.TempDir(), "cursor")}
			c.start(made, 41)
			c.advance(41)
			if err := c.save(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
		Read: func(t *testing.T, sample []byte) []byte {
			c := &cursor{file: filepath.Join(t.TempDir(), "cursor")}
			if err := os.WriteFile(c.file, sample, 0o600); err != nil {
				t.Fatal(err)
			}
			if from := c.start(made, 41); from != 42 {
				t.Errorf("read on from %d", from)
			}
			data, err := json.Marshal(c.state)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
	})
}
