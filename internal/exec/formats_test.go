package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/test/formats"
)

// runFiles are the files of a real run: one that asked and was refused, with the result of another one whose topology is wrong.
func runFiles(t *testing.T) map[string][]byte {
	t.Helper()
	b, r := newAsker(t, question)
	p := b.start(t, r)
	waitForQuestion(t, p)
	if err := p.Answer(""); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	broken := setup(t, map[string]string{"topology.yml": "nodes: [ r1 ]\nlinks: [ r1-r2 ]\n"})
	other := broken.run(t, create())
	wait(t, broken.start(t, other))
	files := map[string][]byte{}
	for dir, names := range map[string][]string{r.Dir: {"plan.json", "driver.json", "progress", "verdict.json"}, other.Dir: {"errors", "result.json"}} {
		for _, name := range names {
			files[name] = []byte(readFile(t, filepath.Join(dir, name)))
		}
	}
	return files
}

// What a run of any release has written into its directory is read as what it is. plan.json and errors are read by the driver of
// the same release alone.
func TestFormats(t *testing.T) {
	t.Parallel()
	place := func(t *testing.T, files map[string][]byte) (dir string) {
		t.Helper()
		dir = t.TempDir()
		for name, content := range files {
			writeFile(t, filepath.Join(dir, name), string(content))
		}
		return dir
	}
	list := []formats.Format{
		{Name: "plan.json", Read: func(_ *testing.T, sample []byte) []byte { return sample }},
		{Name: "errors", Read: func(_ *testing.T, sample []byte) []byte { return sample }},
		{Name: "driver.json", Read: func(t *testing.T, sample []byte) []byte {
			p, err := exec.Attach(place(t, map[string][]byte{"driver.json": sample}), "")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			if _, err := p.Wait(testContext(t)); !errors.Is(err, exec.ErrNoResult) {
				t.Errorf("of another boot: %v", err)
			}
			var told map[string]any
			if err := json.Unmarshal(sample, &told); err != nil {
				t.Fatal(err)
			}
			told["pid"] = p.Pid()
			return marshal(t, told)
		}},
		{Name: "result.json", Read: func(t *testing.T, sample []byte) []byte {
			fence := []byte(`{"pid":1,"start":1,"boot":"another"}`)
			p, err := exec.Attach(place(t, map[string][]byte{"driver.json": fence, "result.json": sample}), "")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			return marshal(t, wait(t, p))
		}},
		{Name: "verdict.json", Read: func(t *testing.T, sample []byte) []byte {
			asked, ok := exec.Claimed(place(t, map[string][]byte{"verdict.json": sample}))
			if !ok {
				t.Fatal("it says no")
			}
			return marshal(t, map[string]any{"question": asked})
		}},
		{Name: "progress", Read: func(t *testing.T, sample []byte) []byte {
			dir := place(t, map[string][]byte{"progress": sample, "driver.json": []byte(`{"pid":1,"start":1,"boot":"another"}`)})
			p, err := exec.Attach(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			waitForPhase(t, p, "Writing configuration files")
			// A run whose driver is gone is asked nothing; what it had asked is what an answer to it says.
			if err := p.Answer(""); err != nil {
				t.Fatal(err)
			}
			if asked, ok := exec.Claimed(dir); !ok || !sameJSON(t, string(asked), question) {
				t.Errorf("asked: %s", asked)
			}
			return sample
		}},
	}
	if os.Getenv("NETLAB_TEST_WRITE") != "" {
		files := runFiles(t)
		for i := range list {
			list[i].Sample = func(*testing.T) []byte { return files[list[i].Name] }
		}
	}
	formats.Check(t, list...)
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantSamples holds the files of a run to those of which there are samples.
func wantSamples(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join("testdata", "formats", "next", e.Name())); err != nil && !e.IsDir() {
			t.Errorf("%s is a format without a sample", e.Name())
		}
	}
}
