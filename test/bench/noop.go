package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/worker"
)

// mostText is how much text a worker has at hand. A flood that is longer repeats it, too far apart for the bus to compress that.
const mostText = 64 * mebibyte

// noopWorker are workers in one process that start no Netlab: what each of their runs writes is set here.
type noopWorker struct {
	// Hosts has a host for each worker. All have their data, a folder each, below DataDir.
	Hosts         []string
	DataDir, Root string
	Bus, Creds    string
	Slots         int // of each host
	// Flood is how many bytes of lines a run writes as fast as it can. 0, and no Ticks: one line.
	Flood int64
	// Ticks is how many lines a run writes, one every Every; each begins with the time, and has Burst bytes of lines behind it.
	Ticks int
	Every time.Duration
	Burst int64
	text  []byte // of a flood or of a burst
}

// roleWorker is workers whose runs do nothing but write.
func roleWorker(ctx context.Context, config json.RawMessage, t *talk) error {
	var c noopWorker
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	c.text = verbose(min(max(c.Flood, c.Burst), mostText))
	python, err := writeAnswer(c.DataDir)
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	workers, ctx := errgroup.WithContext(ctx)
	for _, host := range c.Hosts {
		w, b, err := c.connect(ctx, host, python, me.Username, slog.New(t.log))
		if err != nil {
			return err
		}
		defer b.Close()
		workers.Go(func() error { return w.Run(ctx, b) })
	}
	if err := t.ready(facts{}); err != nil {
		return err
	}
	return workers.Wait()
}

// connect makes one of the workers, and its connection to the bus.
func (c *noopWorker) connect(ctx context.Context, host, python, user string, log *slog.Logger) (*worker.Worker, *bus.Bus, error) {
	w, err := worker.New(ctx, worker.Config{
		Host: host, DataDir: filepath.Join(c.DataDir, host), Roots: []string{c.Root}, Python: python, Slots: c.Slots, Timeout: time.Hour,
		Start: func(r exec.Run) (worker.Process, error) { return startNoop(r.Output, c.write), nil },
		RunAs: user,
		Log:   log,
	})
	if err != nil {
		return nil, nil, err
	}
	b, err := bus.Connect(bus.Config{URL: c.Bus, Creds: c.Creds, Name: host, Source: w.Source(), Log: log})
	return w, b, err
}

// writeAnswer makes a program in the directory that answers the one question which such a worker has for a Python: which Netlab it
// has. To start Netlab for that would take longer than many of the figures.
func writeAnswer(dir string) (string, error) {
	file := filepath.Join(dir, "python")
	return file, os.WriteFile(file, []byte("#!/bin/sh\necho '{\"Version\":\"26.10\",\"Python\":\"3.13\"}'\n"), 0o755)
}

func (c *noopWorker) write(ctx context.Context, out io.Writer) error {
	switch {
	case c.Flood > 0:
		return flood(ctx, out, c.text, c.Flood)
	case c.Ticks > 0:
		return ticks(ctx, out, c.Ticks, c.Every, c.text)
	default:
		_, err := io.WriteString(out, "[INFO] nothing was to be done\n")
		return err
	}
}

// verbose is at least size bytes of lines such as a verbose run writes, none for 0.
func verbose(size int64) []byte {
	if size == 0 {
		return nil
	}
	text := make([]byte, 0, size+100)
	for i := 0; int64(len(text)) < size; i++ {
		text = fmt.Appendf(text, "TASK %07d [node r%03d] ok: interface eth%d address 10.%d.%d.%d/30 metric %d\n",
			i, i%211, i%7, i%250, i*7%251, i*13%253, i*31%1009)
	}
	return text
}

// flood writes the text, again and again until it is at least so long, in the pieces in which a program with a buffer does.
func flood(ctx context.Context, out io.Writer, text []byte, size int64) error {
	for written := int64(0); written < size; written += int64(len(text)) {
		for piece := range slices.Chunk(text, 32<<10) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := out.Write(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// ticks writes n lines, one every pause, each with the time at which it was written and with more text behind it.
func ticks(ctx context.Context, out io.Writer, n int, pause time.Duration, more []byte) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(out, "tick %d %d of a line as long as Netlab's own are, more or less\n%s", monotonic(), i, more); err != nil {
			return err
		}
	}
	return nil
}

// monotonic is the machine's clock that never steps, the same in all processes, in nanoseconds.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail with this clock
	return t.Nano()
}

// noop is a run in which nothing happens but a write.
type noop struct {
	cancel context.CancelFunc
	phases chan string
	done   chan struct{}
	err    error
}

func startNoop(output string, write func(context.Context, io.Writer) error) *noop {
	ctx, cancel := context.WithCancel(context.Background())
	n := &noop{cancel: cancel, phases: make(chan string), done: make(chan struct{})}
	close(n.phases)
	go func() {
		defer close(n.done)
		file, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			n.err = err
			return
		}
		n.err = write(ctx, file)
		if err := file.Close(); n.err == nil {
			n.err = err
		}
	}()
	return n
}

// Phases has none.
func (n *noop) Phases() <-chan string { return n.phases }

// Wait returns exit code 0 when all is written.
func (n *noop) Wait(ctx context.Context) (exec.Result, error) {
	select {
	case <-n.done:
		return exec.Result{}, n.err
	case <-ctx.Done():
		return exec.Result{}, ctx.Err()
	}
}

// Asks has none.
func (n *noop) Asks() <-chan json.RawMessage { return nil }

// Answer is never called.
func (n *noop) Answer(string) error { return nil }

// Stop ends the writing.
func (n *noop) Stop(context.Context, exec.StopOptions) error {
	n.Release()
	return nil
}

// Release ends the writing too: nothing of it can outlive the process.
func (n *noop) Release() {
	n.cancel()
	<-n.done
}
