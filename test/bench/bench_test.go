package main

import (
	"bytes"
	"encoding/json"
	"os"
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
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	o, err := parseOptions([]string{"-short", "-json", file, "-dir", dir})
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
	const rows = 18
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
