package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A block of docs/api.md: what a reader is to type, and what is shown as the answer.
type docBlock struct {
	line           int
	script, answer string
}

var docFence = regexp.MustCompile("(?ms)^```sh\\n(.*?)^```\\n(?:\\n^```json\\n(.*?)^```\\n)?")

func docBlocks(t *testing.T, file string) []docBlock {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	document := string(content)
	part := func(m []int, i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return document[m[2*i]:m[2*i+1]]
	}
	var blocks []docBlock
	for _, m := range docFence.FindAllStringSubmatchIndex(document, -1) {
		blocks = append(blocks, docBlock{
			line: strings.Count(document[:m[2]], "\n") + 1, script: part(m, 1), answer: part(m, 2),
		})
	}
	return blocks
}

// tooSlow is how a host says that an answer takes too long.
var tooSlow = regexp.MustCompile(`"error":"[^"]*(it was ended|in time)`)

// What docs/api.md tells its readers to type works, one after the other, and answers as it says.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the document is for curl, which is not on this machine")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// The reader's checkout: its samples, and what make run keeps.
	checkout := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "test"), filepath.Join(checkout, "test")); err != nil {
		t.Fatal(err)
	}
	templates := filepath.Join(checkout, "templates")
	if err := os.MkdirAll(filepath.Join(templates, "bgp"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := single(t, "NETLAB_WORKER_ROOTS="+filepath.Join(checkout, ".run", "labs"), "NETLAB_WORKER_TEMPLATES="+templates)

	variables := f.path("variables")
	for _, b := range docBlocks(t, filepath.Join(root, "docs", "api.md")) {
		script := strings.ReplaceAll(b.script, "http://127.0.0.1:8090", f.any().base)
		run := func() ([]byte, error) {
			shell := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail; touch "+variables+"; . "+variables+"\n"+script+
				"\ndeclare -p api id 2>/dev/null >"+variables+" || true") // the reader's shell keeps its variables
			shell.Dir = checkout
			return shell.Output()
		}
		out, err := run()
		// A host that is busy with other tests may be too slow, which the reader is told.
		for end := time.Now().Add(patience); tooSlow.Match(out) && time.Now().Before(end); {
			out, err = run()
		}
		if err != nil {
			t.Fatalf("docs/api.md:%d: %v\n%s%s", b.line, err, script, out)
		}
		if strings.Contains(string(out), "internal error") || strings.Contains(script, "\ncurl") && len(out) == 0 {
			t.Errorf("docs/api.md:%d: %q", b.line, out)
		}
		if b.answer != "" {
			sameShape(t, fmt.Sprintf("docs/api.md:%d", b.line), b.answer, lastLine(out))
		}
	}
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// sameShape checks that the answer that a document shows has members that the real one has, too.
func sameShape(t *testing.T, where, shown, real string) {
	t.Helper()
	var want, got any
	if err := json.Unmarshal([]byte(shown), &want); err != nil {
		t.Errorf("%s: what is shown is no JSON: %v", where, err)
		return
	}
	if err := json.Unmarshal([]byte(real), &got); err != nil {
		t.Errorf("%s: %v: %.300s", where, err, real)
		return
	}
	compareShape(t, where, want, got)
}

func compareShape(t *testing.T, where string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: an object is shown, it is %v", where, got)
			return
		}
		for name, member := range want {
			real, ok := object[name]
			if !ok {
				t.Errorf("%s: shows %s, which is not there: %v", where, name, slices.Sorted(maps.Keys(object)))
				continue
			}
			if member != nil && real != nil {
				compareShape(t, where+"."+name, member, real)
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			t.Errorf("%s: a list is shown, it is %v", where, got)
			return
		}
		if len(want) > 0 && len(list) > 0 {
			compareShape(t, where+"[0]", want[0], list[0])
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			t.Errorf("%s: %v is shown, it is %v", where, want, got)
		}
	}
}
