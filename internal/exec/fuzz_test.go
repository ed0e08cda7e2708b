package exec

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzDriverFiles takes any bytes for each file that a run's driver writes: the job's user may write them as well.
func FuzzDriverFiles(f *testing.F) {
	files := []string{"result.json", "progress", "verdict.json", "driver.json"}
	for _, seed := range []struct{ file, text string }{
		{"result.json", `{"exitCode":1,"error":"no","command":"up","phase":"start","errors":[{"text":"x"}],"commands":[{"name":"up","exitCode":1,"startedAt":"2026-01-02T03:04:05Z"}]}`},
		{"result.json", `{"exitCode":1e99}`},
		{"result.json", `[[[[[[`},
		{"progress", "{\"command\":\"up\"}\n{\"phase\":\"Starting  provider\"}\n{\"question\":{\"name\":\"x\",\"nodes\":[]}}\n"},
		{"progress", "{\"phase\":7}\n\n{\"question\":[]}\n{\"question\":null,\"phase\":\"\\u0000\"}\nhalf"},
		{"verdict.json", `{"refused":"no","question":{}}`},
		{"verdict.json", `{"question":{"name":"x"}}`},
		{"driver.json", `{"pid":1,"start":2,"boot":"b"}`},
		{"driver.json", `{"pid":-1,"abandoned":true}`},
	} {
		f.Add(uint8(slices.Index(files, seed.file)), []byte(seed.text), uint8(3))
	}
	f.Fuzz(func(t *testing.T, kind uint8, text []byte, cut uint8) {
		file := files[int(kind)%len(files)]
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
		switch file {
		case "result.json":
			fuzzResult(t, dir)
		case "progress":
			fuzzProgress(t, dir, text, int(cut)+1)
		case "verdict.json":
			if question, ok := Claimed(dir); ok && !json.Valid(question) {
				t.Fatalf("a question that is no JSON: %q", question)
			}
		case "driver.json":
			// Whatever it says, the run is fenced off, or told to be somebody's.
			driver, err := claimOrRead(dir)
			if err == nil && driver.Abandoned {
				t.Fatalf("%+v is given up and yet there", driver)
			}
		}
	})
}

func fuzzResult(t *testing.T, dir string) {
	t.Helper()
	result, err := readResult(dir)
	if err != nil {
		if !errors.Is(err, ErrUnreadable) {
			t.Fatal(err)
		}
		return
	}
	if _, err := json.Marshal(result); err != nil {
		t.Fatalf("%+v: %v", result, err)
	}
}

// fuzzProgress reads a file at once and as it grows.
func fuzzProgress(t *testing.T, dir string, text []byte, cut int) {
	t.Helper()
	p := &progress{name: filepath.Join(dir, "progress")}
	whole := p.read()
	p.close()
	var pieces []step
	grown := &progress{}
	for rest := text; len(rest) > 0; rest = rest[min(cut, len(rest)):] {
		pieces = grown.take(pieces, rest[:min(cut, len(rest))])
	}
	if diff := cmp.Diff(whole, pieces, cmp.AllowUnexported(step{})); diff != "" {
		t.Fatalf("in pieces of %d (-whole +pieces):\n%s", cut, diff)
	}
	for _, s := range whole {
		if s.question != nil && (!json.Valid(s.question) || len(s.question) > maxQuestion || s.question[0] != '{') {
			t.Fatalf("the question %q", s.question)
		}
		if utf8.RuneCountInString(s.phase) > maxPhase || strings.ContainsAny(s.phase, "\n\r\t") || !utf8.ValidString(s.phase) || (s.phase == "") == (s.question == nil) {
			t.Fatalf("the step %+v", s)
		}
	}
}
