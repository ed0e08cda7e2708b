package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is what the medians of a row are to reach: at least or at most the bound, as the row's better says.
type goal struct {
	Of    quantity `json:"of"`
	Bound float64  `json:"bound"`
}

// quantity is what a goal is held to.
type quantity string

const (
	ofRatio quantity = "ratio"         // here divided by the baseline
	ofValue quantity = "value"         // here, in the row's unit
	ofRise  quantity = "over baseline" // here less the baseline, in the row's unit
)

// aim is a goal of a figure's first row whose name begins so.
type aim struct {
	figure, row string
	goal
}

func aims() []aim {
	return []aim{
		{"post", "POST /jobs", goal{ofRatio, 0.6}},
		{"get", "GET /jobs/{id}", goal{ofRatio, 0.8}},
		{"jobs", "jobs that do nothing", goal{ofRatio, 0.5}},
		{"jobs", "jobs that do nothing", goal{ofValue, 2000}},
		{"relay", "log of", goal{ofRatio, 0.8}},
		{"create", "create, POST to Netlab's first line", goal{ofRatio, 0.6}},
		{"create", "create, POST to the end", goal{ofRatio, 0.6}},
		{"creates", "create, ", goal{ofRatio, 1.5}},
		{"latency", "line written to line read, p50, 100 lines/s in each of 20", goal{ofValue, 3}},
		{"latency", "line written to line read, p99, 100 lines/s in each of 20", goal{ofValue, 20}},
		{"followers", "memory of the API", goal{ofRise, 48}},
		{"poll", "JSON log", goal{ofValue, 100}},
		{"poll", "  memory of the API, at most", goal{ofRatio, 1.1}},
		{"list", "GET /jobs?…&limit=50, filters that most match", goal{ofRatio, 2}},
		{"list", "GET /jobs?…&limit=50, filters that 50 match", goal{ofRatio, 2}},
		{"list", "GET /jobs?…&limit=50, filters that half match each", goal{ofRatio, 2}},
		{"ready", "netlab-api, start to ready", goal{ofRatio, 1.5}},
		{"ready", "  memory a job", goal{ofRise, 1.5}},
		{"idle", "idle", goal{ofValue, 1}},
		{"idle", "  memory of the API", goal{ofValue, 80}},
		{"idle", "  memory of what is kept ready", goal{ofValue, 64}},
		{"start", "netlab-api, start to ready", goal{ofValue, 50}},
	}
}

// references are the rows, each with those below it, that say what a figure cannot be better than, by nobody's code but that of the parts.
func references() []string {
	return []string{"what the first asks of the bus, and no more", "the same messages, and the files that a job needs"}
}

// add appends the rows of a figure, with their goals.
func (t *table) add(figure string, rows []row) error {
	first, reference := len(t.Rows), false
	for _, r := range rows {
		if !strings.HasPrefix(r.Name, "  ") {
			reference = slices.Contains(references(), r.Name)
		}
		t.Rows = append(t.Rows, entry{Figure: figure, row: r, Reference: reference})
	}
	for _, a := range aims() {
		if a.figure != figure {
			continue
		}
		found := false
		for i := first; i < len(t.Rows) && !found; i++ {
			if found = strings.HasPrefix(t.Rows[i].Name, a.row); found {
				t.Rows[i].Goals = append(t.Rows[i].Goals, a.goal)
			}
		}
		if !found {
			return fmt.Errorf("there is a goal of %q, but no such row", a.row)
		}
	}
	return nil
}

// goal says in words what is wanted of the row and whether it is met.
func (e *entry) goal() (wanted, met string) {
	if len(e.Goals) == 0 {
		return "–", "–"
	}
	met = "yes"
	var texts []string
	for _, g := range e.Goals {
		if !g.met(&e.row) {
			met = "no"
		}
		texts = append(texts, g.text(e.Better))
	}
	return strings.Join(texts, ", "), met
}

func (g goal) met(r *row) bool {
	got, base := median(r.Here), median(r.Baseline)
	switch g.Of {
	case ofRatio:
		got /= base
	case ofRise:
		got -= base
	}
	if r.Better == more {
		return got >= g.Bound
	}
	return got <= g.Bound
}

func (g goal) text(b better) string {
	sign := "≤"
	if b == more {
		sign = "≥"
	}
	bound := fmt.Sprintf("%s %g", sign, g.Bound)
	switch g.Of {
	case ofRatio:
		return "ratio " + bound
	case ofRise:
		return bound + " more"
	default:
		return bound
	}
}
