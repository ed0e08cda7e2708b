package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
)

// axis is something that there may be much of: what is measured as it grows, size by size.
type axis struct {
	name  string // of its picture, and for -run
	title string
	unit  string // of the sizes
	sizes []int
	// quantities are taken at every size.
	quantities []measured
	prepare    func(ctx context.Context, b *bench, size int) (*stage, error)
}

// measured is a quantity by its key in the samples, with its name and unit.
type measured struct{ key, name, unit string }

// stage is what has been set up at one size. It is measured once a round; end lets all of it end.
type stage struct {
	measure func(ctx context.Context) (sample, error)
	end     func() error
}

func (b *bench) axes() []axis {
	sizes := func(large, small []int) []int {
		if b.short {
			return small
		}
		return large
	}
	return []axis{
		{
			"jobs", "jobs kept", "jobs", sizes([]int{100, 1000, 10_000, 100_000}, []int{50, 100}),
			[]measured{{"ready", "API, start to ready", "ms"}, {"memory", "memory of the API", "MiB"}, {"page", "one page of the list", "ms"}},
			prepareJobs,
		},
		{
			"log", "size of a log", "MiB", sizes([]int{1, 10, 100, 400}, []int{1, 2}),
			[]measured{{"time", "first to last byte at a follower", "ms"}, {"memory", "memory of the API", "MiB"}},
			prepareLog,
		},
		{
			"followers", "followers of one log", "followers", sizes([]int{1, 10, 100, 1000}, []int{1, 3}),
			[]measured{{"cpu", "processor time of the API", "% of a core"}, {"memory", "memory of the API", "MiB"}},
			prepareFollowers,
		},
		{
			"hosts", "hosts", "hosts", sizes([]int{1, 10, 100, 1000}, []int{1, 3}),
			[]measured{
				{"rate", "jobs that do nothing, over all hosts", "jobs/s"},
				{"cpu", "processor time of API and workers", "µs/job"},
				{"list", "GET /hosts", "ms"},
				{"memory", "memory of the API", "MiB"},
			},
			prepareHosts,
		},
	}
}

// growth is what is printed, drawn, and written as JSON.
type growth struct {
	Surroundings string  `json:"surroundings"`
	Axes         []grown `json:"axes"`
}

// grown is an axis with what was measured.
type grown struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Unit   string  `json:"unit"`
	Sizes  []int   `json:"sizes"`
	Curves []curve `json:"curves"`
}

// curve is a quantity at each size. It grows with about the power Exponent of the size: 0 not at all, 1 in proportion.
type curve struct {
	Name     string      `json:"name"`
	Unit     string      `json:"unit"`
	Values   [][]float64 `json:"values"` // of every round, by size
	Exponent float64     `json:"exponent"`
	// Last is the exponent of the last two sizes alone.
	Last float64 `json:"last"`
}

// medians has a value for each size.
func (c *curve) medians() []float64 {
	var all []float64
	for _, rounds := range c.Values {
		all = append(all, median(rounds))
	}
	return all
}

// grow measures along the axes, and writes tables and pictures, also of the axes that were done before one failed.
func grow(ctx context.Context, o *options, stdout, progress io.Writer) error {
	g := growth{Surroundings: surroundings(o)}
	err := withBench(ctx, o, progress, func(ctx context.Context, b *bench) error {
		for _, a := range b.axes() {
			if !o.figures.MatchString(a.name) {
				continue
			}
			got, err := b.growAlong(ctx, &a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			g.Axes = append(g.Axes, *got)
		}
		return nil
	})
	if len(g.Axes) > 0 {
		err = errors.Join(err, g.write(stdout), g.draw(o.pictures))
	}
	if err == nil && o.json != "" {
		err = writeJSON(o.json, &g)
	}
	return err
}

// growAlong measures at every size of an axis.
func (b *bench) growAlong(ctx context.Context, a *axis) (*grown, error) {
	g := &grown{Name: a.name, Title: a.title, Unit: a.unit, Sizes: a.sizes}
	for _, q := range a.quantities {
		g.Curves = append(g.Curves, curve{Name: q.name, Unit: q.unit})
	}
	for _, size := range a.sizes {
		_, _ = fmt.Fprintf(b.progress, "%s: %d %s\n", a.name, size, a.unit)
		samples, err := b.measureAt(ctx, a, size)
		if err != nil {
			return nil, fmt.Errorf("%d %s: %w", size, a.unit, err)
		}
		for i, q := range a.quantities {
			g.Curves[i].Values = append(g.Curves[i].Values, samples.of(a.name, q.key))
		}
	}
	for i := range g.Curves {
		medians := g.Curves[i].medians()
		g.Curves[i].Exponent = exponent(a.sizes, medians)
		last := max(len(medians)-2, 0)
		g.Curves[i].Last = exponent(a.sizes[last:], medians[last:])
	}
	return g, nil
}

// measureAt sets a size up and measures it once a round.
func (b *bench) measureAt(ctx context.Context, a *axis, size int) (r results, err error) {
	s, err := a.prepare(ctx, b, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	return b.inTurns(ctx, a.name, side{a.name, s.measure})
}

// write prints a table for each axis.
func (g *growth) write(w io.Writer) error {
	var text bytes.Buffer // to which no write fails
	_, _ = fmt.Fprintln(&text, g.Surroundings)
	for _, a := range g.Axes {
		_, _ = fmt.Fprintln(&text)
		columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintf(columns, "%s\tunit", a.Title)
		for _, size := range a.Sizes {
			_, _ = fmt.Fprintf(columns, "\t%d", size)
		}
		_, _ = fmt.Fprintln(columns, "\texponent\tof the last two")
		for _, c := range a.Curves {
			_, _ = fmt.Fprintf(columns, "%s\t%s", c.Name, c.Unit)
			for _, value := range c.medians() {
				_, _ = fmt.Fprintf(columns, "\t%s", number(value))
			}
			_, _ = fmt.Fprintf(columns, "\t%s\t%s\n", signed(c.Exponent), signed(c.Last))
		}
		_ = columns.Flush()
	}
	_, err := text.WriteTo(w)
	return err
}

// signed writes an exponent.
func signed(k float64) string { return strconv.FormatFloat(k, 'f', 2, 64) }

// draw writes a picture of each axis into the directory, which is made; empty: none.
func (g *growth) draw(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range g.Axes {
		var picture bytes.Buffer
		if err := a.svg(&picture); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, a.Name+".svg"), picture.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
