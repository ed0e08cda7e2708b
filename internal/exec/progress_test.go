package exec

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// appendTo writes as the driver's processes do.
func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func phasesOf(steps []step) string {
	var phases []string
	for _, s := range steps {
		if s.question != nil {
			s.phase = "?"
		}
		phases = append(phases, s.phase)
	}
	return strings.Join(phases, ",")
}

func TestProgressInPieces(t *testing.T) {
	t.Parallel()
	p := &progress{name: filepath.Join(t.TempDir(), "progress")}
	defer p.close()
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{`{"command":"up"}` + "\n" + `{"pha`, "netlab up"},
		{`se":"one"}`, ""},
		{"\n" + `{"phase":"two"}` + "\n", "one,two"},
		{strings.Repeat("x", maxLine), ""},
		{strings.Repeat("x", maxLine), ""},
		{`{"phase":"not mine"}` + "\n" + `{"phase":"three"}` + "\n", "three"},
		{`{"question":{"a":1}}` + "\n", "?"},
	} {
		appendTo(t, p.name, c.text)
		if got := phasesOf(p.read()); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
	if err := os.Truncate(p.name, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, p.name, `{"phase":"anew"}`+"\n")
	if got := phasesOf(p.read()); got != "anew" {
		t.Errorf("after it was emptied: %q", got)
	}
}

// A user who fills progress takes no more than this of the worker.
func TestProgressIsBounded(t *testing.T) {
	t.Parallel()
	p := &progress{name: filepath.Join(t.TempDir(), "progress")}
	defer p.close()
	line := `{"phase":"` + strings.Repeat("y", 1000) + `"}` + "\n"
	appendTo(t, p.name, string(bytes.Repeat([]byte(line), 2*maxProgress/len(line))))
	if got := len(p.read()); got > maxProgress/len(line)+100 || got < maxProgress/len(line) {
		t.Errorf("%d lines", got)
	}
	appendTo(t, p.name, line)
	if got := p.read(); len(got) > 0 {
		t.Errorf("%d more", len(got))
	}
}
