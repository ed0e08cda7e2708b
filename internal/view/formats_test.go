package view

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/test/formats"
)

// The cursor of an API of any release is read as what it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 11, 26, 12, 0, 0, 7, time.UTC)
	at := bus.Mark{Made: made, Seq: 41, Stored: made.Add(time.Hour)}
	formats.Check(t, formats.Format{
		Name: "cursor", Type: bus.Mark{},
		Sample: func(t *testing.T) []byte {
			c := &cursor{file: filepath.Join(t.TempDir(), "cursor")}
			c.reach(at)
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
			if got := c.load(); got.Seq != at.Seq || !got.Made.Equal(made) {
				t.Errorf("%+v", got)
			}
			data, err := json.Marshal(c.state)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
	})
}
