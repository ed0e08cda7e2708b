package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A short run along each axis says nothing about growth, but that it can be measured and drawn.
func TestShortGrowth(t *testing.T) {
	t.Parallel()
	curves := map[string]int{"jobs": 3, "log": 2, "followers": 2, "hosts": 4}
	for name, count := range curves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			growShort(t, name, count)
		})
	}
	if axes := (&bench{options: &options{}}).axes(); len(axes) != len(curves) {
		t.Errorf("%d axes, want %d", len(axes), len(curves))
	}
}

// growShort takes an axis in a short run, which must give so many curves and leave nothing behind.
func growShort(t *testing.T, axis string, curves int) {
	t.Helper()
	dir := t.TempDir()
	file, pictures := filepath.Join(dir, "growth.json"), filepath.Join(dir, "pictures")
	o, err := parseOptions([]string{"-grow", "-short", "-json", file, "-pictures", pictures, "-dir", dir, "-run", "^" + axis + "$"})
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := grow(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var written growth
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if len(written.Axes) != 1 || len(written.Axes[0].Curves) != curves {
		t.Fatalf("not one axis with %d curves: %s", curves, text)
	}
	for _, c := range written.Axes[0].Curves {
		for i, value := range c.medians() {
			if value <= 0 {
				t.Errorf("%s at %d: %v", c.Name, written.Axes[0].Sizes[i], value)
			}
		}
		if !strings.Contains(out.String(), c.Name) {
			t.Errorf("the table lacks %q:\n%s", c.Name, out.String())
		}
	}
	picture, err := os.ReadFile(filepath.Join(pictures, axis+".svg"))
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, picture)
	left, err := filepath.Glob(filepath.Join(dir, "netlab-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestExponent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		sizes  []int
		values []float64
		want   float64
	}{
		{"in proportion", []int{1, 10, 100}, []float64{3, 30, 300}, 1},
		{"with the square", []int{1, 2, 8}, []float64{5, 20, 320}, 2},
		{"not at all", []int{1, 10, 100}, []float64{7, 7, 7}, 0},
		{"in reverse proportion", []int{1, 10}, []float64{40, 4}, -1},
		{"with the root", []int{1, 100}, []float64{2, 20}, 0.5},
		{"between its points", []int{1, 10, 100}, []float64{1, 100, 100}, 1},
		{"without what has no logarithm", []int{1, 10, 100}, []float64{0, 1, 10}, 1},
		{"one size", []int{5}, []float64{5}, 0},
	} {
		if got := exponent(c.sizes, c.values); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// The picture is what testdata/growth.svg has; NETLAB_TEST_WRITE=1 writes that.
func TestPicture(t *testing.T) {
	t.Parallel()
	a := grown{
		Name: "jobs", Title: "jobs <kept> & \"more\"", Unit: "jobs", Sizes: []int{1, 10, 1000},
		Curves: []curve{
			{Name: "time & space", Unit: "ms", Values: [][]float64{{1, 3, 2}, {20}, {2000}}, Exponent: 1},
			{Name: "nothing", Unit: "%", Values: [][]float64{{0}, {0.5}, {0.5}}, Exponent: 0},
		},
	}
	var got bytes.Buffer
	if err := a.svg(&got); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, got.Bytes())
	const golden = "testdata/growth.svg"
	if os.Getenv("NETLAB_TEST_WRITE") != "" {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("not what %s has:\n%s", golden, got.String())
	}
}

// wellFormed checks that the text is XML with a title and a text alternative.
func wellFormed(t *testing.T, text []byte) {
	t.Helper()
	seen := map[string]bool{}
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if start, ok := token.(xml.StartElement); ok {
			seen[start.Name.Local] = true
		}
	}
	for _, element := range []string{"svg", "title", "desc", "polyline", "circle"} {
		if !seen[element] {
			t.Errorf("no element %s:\n%s", element, text)
		}
	}
}
