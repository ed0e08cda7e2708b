package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// withShortBench calls f as a figure of a short run is called.
func withShortBench(t *testing.T, f func(ctx context.Context, b *bench) error) {
	t.Helper()
	o, err := parseOptions([]string{"-short", "-dir", t.TempDir()})
	if err == nil {
		err = withBench(t.Context(), o, io.Discard, f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The API and the workers that run no Netlab write the log that the programs write.
func TestProgramsLog(t *testing.T) {
	t.Parallel()
	withShortBench(t, func(ctx context.Context, b *bench) error {
		s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 1})
		if err != nil {
			return err
		}
		if _, err := s.runJobs(ctx, "logged", 1); err != nil {
			return err
		}
		if err := s.end(); err != nil {
			return err
		}
		for role, line := range map[string]string{"api": `level=INFO msg="host online"`, "worker": `level=INFO msg="job ended"`} {
			files, err := filepath.Glob(filepath.Join(b.temporary, "*-"+role+".log"))
			if err != nil || len(files) != 1 {
				t.Fatalf("logs of %s: %v %v", role, files, err)
			}
			text, err := os.ReadFile(files[0])
			if err != nil || !strings.Contains(string(text), line) {
				t.Errorf("%v, or no %q in\n%s", err, line, text)
			}
		}
		return nil
	})
}

// A log that lacks a line, or has one too many, is no figure.
func TestAllLinesCount(t *testing.T) {
	t.Parallel()
	withShortBench(t, func(ctx context.Context, b *bench) (err error) {
		s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 1, Ticks: 3, Every: time.Millisecond})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.end()) }()
		for _, lines := range []int{2, 3, 4} {
			times, err := s.timeLines(ctx, s.createJob("lines"+strconv.Itoa(lines)), lines)
			if (err == nil) != (lines == 3) {
				t.Errorf("%d lines wanted of 3: %v, %v", lines, times, err)
			}
		}
		return nil
	})
}

// A line that is out of its order does not count.
func TestTickOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line   string
		number int
		ok     bool
	}{
		{"tick 12 3 of a line", 3, true},
		{"tick 12 4 of a line", 3, false},
		{"tick 12", 3, false},
		{"TASK 12 3 of a line", 3, false},
		{"tick now 3 of a line", 3, false},
	} {
		if at, ok := tickOf([]byte(c.line), c.number); ok != c.ok || ok && at != 12 {
			t.Errorf("%q, number %d: %d, %v", c.line, c.number, at, ok)
		}
	}
}

// Each birth that "what the first asks of the bus" publishes comes back.
func TestBirthsComeBack(t *testing.T) {
	t.Parallel()
	withShortBench(t, func(ctx context.Context, b *bench) error {
		const n = 20
		check := func(ctx context.Context, c *child, posted int) error {
			if err := checkBirths(ctx, c, posted); err != nil {
				return err
			}
			if err := checkBirths(ctx, c, posted-1); err == nil {
				t.Error("one too many is no error")
			}
			return nil
		}
		config := leastConfig{Birth: message{Data: []byte("{}")}}
		_, err := b.postToBare(ctx, "least-post", config, n, func(i int) int { return i }, check)
		return err
	})
}

// All is in the file, and what should not happen is shown too.
func TestProgramLog(t *testing.T) {
	t.Parallel()
	var file, shown bytes.Buffer
	log := slog.New(programLog(&file, &shown)).With("job", 7)
	log.Debug("one")
	log.Info("two")
	log.Warn("three")
	if got := file.String(); strings.Contains(got, "one") || !strings.Contains(got, "level=INFO msg=two job=7\n") || !strings.Contains(got, "three") {
		t.Errorf("in the file:\n%s", got)
	}
	if got := shown.String(); strings.Contains(got, "two") || !strings.Contains(got, "level=WARN msg=three job=7\n") {
		t.Errorf("shown:\n%s", got)
	}
}
