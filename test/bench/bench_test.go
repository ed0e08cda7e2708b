package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The benchmarks start this program in other roles: here that is the test's binary.
func TestMain(m *testing.M) {
	if code, ok := playRole(); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A short run says nothing about speed, but that every figure can still be taken.
func TestShortRun(t *testing.T) {
	t.Parallel()
	rows := map[string]int{
		"post": 6, "get": 4, "jobs": 4, "relay": 1, "live": 1, "create": 6, "creates": 1, "latency": 4, "followers": 2, "poll": 3,
		"list": 6, "ready": 3, "idle": 3, "start": 1,
	}
	for _, f := range figures() {
		// Most of them wait most of the time.
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			takeShort(t, f.name, rows[f.name])
		})
	}
}

// takeShort takes a figure in a short run, which must give so many rows and leave nothing behind.
func takeShort(t *testing.T, figure string, rows int) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	o, err := parseOptions([]string{"-short", "-json", file, "-dir", dir, "-run", "^" + figure + "$"})
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := measure(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var written table
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if len(written.Rows) != rows {
		t.Errorf("%d rows, want %d", len(written.Rows), rows)
	}
	for _, r := range written.Rows {
		if !strings.Contains(out.String(), r.Name) {
			t.Errorf("the table lacks %q", r.Name)
		}
		if len(r.Here) != 1 || r.Here[0] <= 0 {
			t.Errorf("%s: %v", r.Name, r.Here)
		}
		if wanted := r.Beside != ""; wanted != (len(r.Baseline) == 1) || wanted && r.Baseline[0] <= 0 {
			t.Errorf("%s: baseline %v", r.Name, r.Baseline)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "netlab-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// The runs of Netlab are in a profile, forked or started by themselves, with what python-box takes.
func TestProfile(t *testing.T) {
	t.Parallel()
	profile := t.TempDir()
	o, err := parseOptions([]string{"-short", "-dir", t.TempDir(), "-run", "^create$", "-profile", profile})
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := measure(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), out.String())
	}
	for name, forked := range map[string]bool{"create-here": true, "create-anew": false} {
		samples := filepath.Join(profile, name+".folded")
		text, err := os.ReadFile(samples)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(text, []byte("netlab_driver.warm.")); got != forked {
			t.Errorf("%s: forked from what is kept ready: %v", name, got)
		}
		summary, err := exec.CommandContext(t.Context(), o.python, filepath.Join(o.root, "test", "bench", "sampler", "summary.py"), samples).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, summary)
		}
		for _, line := range []string{"%  box\n", "%  netsim\n"} {
			if !strings.Contains(string(summary), line) {
				t.Errorf("%s: the summary lacks %q:\n%s", name, line, summary)
			}
		}
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		better         better
		here, baseline float64
		goal           goal
		wanted, met    string
	}{
		{more, 6, 10, goal{ofRatio, 0.6}, "ratio ≥ 0.6", "yes"},
		{more, 5, 10, goal{ofRatio, 0.6}, "ratio ≥ 0.6", "no"},
		{less, 5, 10, goal{ofRatio, 0.6}, "ratio ≤ 0.6", "yes"},
		{less, 50, 0, goal{ofValue, 50}, "≤ 50", "yes"},
		{less, 51, 0, goal{ofValue, 50}, "≤ 50", "no"},
		{less, 58, 10, goal{ofRise, 48}, "≤ 48 more", "yes"},
		{less, 59, 10, goal{ofRise, 48}, "≤ 48 more", "no"},
	} {
		e := entry{row: row{Better: c.better, Here: []float64{c.here}, Baseline: []float64{c.baseline}}, Goals: []goal{c.goal}}
		if wanted, met := e.goal(); wanted != c.wanted || met != c.met {
			t.Errorf("%v of %v and %v: %q, %q", c.goal, c.here, c.baseline, wanted, met)
		}
	}
	two := entry{row: row{Better: more, Here: []float64{3}}, Goals: []goal{{ofValue, 1}, {ofValue, 4}}}
	if wanted, met := two.goal(); wanted != "≥ 1, ≥ 4" || met != "no" {
		t.Errorf("of two goals: %q, %q", wanted, met)
	}
	var none table
	if err := none.add("post", []row{{Name: "GET /jobs"}}); err == nil {
		t.Error("a goal without its row is no error")
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0.99, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{0, 10}, 0.99, 9.9},
		{[]float64{5, 1, 9}, 1, 9},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.values, c.q, got, c.want)
		}
	}
}
