package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
