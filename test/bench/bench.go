package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// bench is one run of the program.
type bench struct {
	*options
	temporary string
	progress  io.Writer
	started   int // child processes and directories so far
}

// figure is one measurement, which gives one or more rows of the table.
type figure struct {
	name string
	run  func(ctx context.Context, b *bench) ([]row, error)
}

func figures() []figure {
	return []figure{
		{"post", measurePost},
		{"get", measureGet},
		{"jobs", measureJobs},
		{"relay", measureRelay},
		{"live", measureLive},
		{"create", measureCreate},
		{"creates", measureCreates},
		{"latency", measureLatency},
		{"followers", measureFollowers},
		{"poll", measurePoll},
		{"list", measureList},
		{"ready", measureReady},
		{"idle", measureIdle},
		{"start", measureStart},
	}
}

// measure takes the figures and writes the table, also of those that were done before one failed.
func measure(ctx context.Context, o *options, stdout, progress io.Writer) error {
	t := table{Surroundings: surroundings(o)}
	err := withBench(ctx, o, progress, func(ctx context.Context, b *bench) error {
		for _, f := range figures() {
			if !o.figures.MatchString(f.name) {
				continue
			}
			rows, err := f.run(ctx, b)
			if err == nil {
				err = t.add(f.name, rows)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		return nil
	})
	if len(t.Rows) > 0 {
		err = errors.Join(err, t.write(stdout))
	}
	if err == nil && o.json != "" {
		err = writeJSON(o.json, &t)
	}
	return err
}

// withBench calls f with a temporary directory, and removes that afterwards.
func withBench(ctx context.Context, o *options, progress io.Writer, f func(ctx context.Context, b *bench) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	b := &bench{options: o, progress: progress}
	if b.temporary, err = os.MkdirTemp(o.dir, "netlab-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.temporary)
	return f(ctx, b)
}

// newDir makes a directory of its own for what name says.
func (b *bench) newDir(name string) (string, error) {
	b.started++
	dir := filepath.Join(b.temporary, strconv.Itoa(b.started)+"-"+name)
	return dir, os.Mkdir(dir, 0o755)
}

// amount is large, or small where the run is a short one.
func (b *bench) amount(large, small int) int {
	if b.short {
		return small
	}
	return large
}
