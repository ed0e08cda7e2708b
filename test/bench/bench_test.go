package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	rows := shortRows()
	for _, f := range figures() {
		// Most of them wait most of the time.
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			takeShort(t, f.name, rows[f.name])
		})
	}
}

// What is said of a row that has no baseline, and of one in which this program has no part.
const (
	alone     = ", alone"
	reference = ", for reference"
)

// shortRows are the names of the rows of a short run, which must be the same each time.
func shortRows() map[string][]string {
	const server, workers, api = "  processor time of the server", "  processor time of the server and the workers", "  processor time of the API" + alone
	return map[string][]string{
		"post": {
			"POST /jobs, each job in a new directory", server,
			"POST /jobs, in 64 known directories", server,
			"what the first asks of the bus, and no more" + reference, server + reference,
		},
		"get": {"GET /jobs/{id}", server, "GET /jobs/{id} of a running job", server},
		"jobs": {
			"jobs that do nothing, from POST to their end, 2 hosts", workers,
			"the same messages, and the files that a job needs" + reference, workers + reference,
		},
		"relay": {"log of 1 MiB to one follower, job ended"},
		"live":  {"log of 1 MiB to one follower, while it is written"},
		"create": {
			"create, POST to the first byte at a follower",
			"create, POST to Netlab's first line at a follower",
			"create, POST to the end at a follower",
			"create, POST to the end at a follower",
			"create, nothing kept ready, POST to the end at a follower",
			"create, the first one after an idle time, POST to the end at a follower",
		},
		"creates": {fmt.Sprintf("create, %d at once, POST to the ends", runtime.NumCPU())},
		"latency": {
			"line written to line read, p50, 100 lines/s in each of 1" + alone,
			"line written to line read, p99, 100 lines/s in each of 1" + alone,
			"line written to line read, p50, 100 lines/s in each of 20" + alone,
			"line written to line read, p99, 100 lines/s in each of 20" + alone,
		},
		"followers": {"memory of the API, 20 followers of a log of 100 kB/s", api},
		"poll":      {"JSON log of 1 MB, 2 clients once a second, p99" + alone, "  memory of the API, at most", api},
		"list": {
			"GET /jobs?…&limit=50, filters that most match, of 200 jobs", server,
			"GET /jobs?…&limit=50, filters that 50 match, of 200 jobs", server,
			"GET /jobs?…&limit=50, filters that half match each and 50 both, of 200 jobs", server,
		},
		"ready": {"netlab-api, start to ready, 200 jobs on the bus", "  processor time of the API until then", "  memory a job"},
		"idle": {
			"idle with 50 jobs: processor time, API and worker",
			"  memory of the API, its server included, and the worker",
			"  memory of what is kept ready of Netlab" + alone,
		},
		"start": {"netlab-api, start to ready, empty store" + alone},
	}
}

// takeShort takes a figure in a short run, which must give these rows and leave nothing behind.
func takeShort(t *testing.T, figure string, rows []string) {
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
	var names []string
	for _, r := range written.Rows {
		name := r.Name
		if r.Beside == "" {
			name += alone
		}
		if r.Reference {
			name += reference
		}
		names = append(names, name)
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
	if !slices.Equal(names, rows) {
		t.Errorf("rows %q, want %q", names, rows)
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
