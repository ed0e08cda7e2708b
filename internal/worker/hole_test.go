package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/jobs"
)

// blocksOf is what a file takes of the disk, in bytes.
func blocksOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// A log is cut off at its limit, whatever worker makes it, and what the run writes beyond takes no disk.
func TestLogIsCutOffAtItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	b := bustest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "output")
	ended := make(chan struct{})
	begin := func(ctx context.Context, known bool) (*spool, chan error) {
		s := newSpool(b, "a", "j", file, []string{"hunter2"}, limit)
		done := make(chan error, 1)
		go func() { done <- s.keep(ctx, ended, known, slog.New(slog.DiscardHandler)) }()
		return s, done
	}
	await := func(what string, condition func() bool) {
		t.Helper()
		for !condition() {
			if ctx.Err() != nil {
				t.Fatalf("waited in vain for %s", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	line := "what hunter2 says\n"
	flood := []byte(strings.Repeat(line, (1<<20)/len(line)))
	written := int64(0)
	write := func(blocks int) {
		for range blocks {
			if _, err := out.Write(flood); err != nil {
				t.Fatal(err)
			}
			written += int64(len(flood))
		}
	}
	shown := strings.Repeat("what *** says\n", limit/14+1)[:limit]
	want := shown + "\n" + fmt.Sprintf("netlab-worker: the log has reached its limit of %d bytes (NETLAB_WORKER_LOG_LIMIT): what the job writes from here on is left out\n", limit)

	life, stop := context.WithCancel(ctx)
	_, done := begin(life, false)
	write(8)
	await("the limit", func() bool { return published(t, b) == want })
	if err := say(file, "still there"); err != nil {
		t.Fatal(err)
	}
	want += "netlab-worker: still there\n"
	write(8)
	await("a line of the worker's", func() bool { return published(t, b) == want })
	await("the disk", func() bool { return blocksOf(t, file) < 4<<20 })

	// A worker that comes back makes the same log of what is left.
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	write(8)
	_, done = begin(ctx, true)
	await("the disk", func() bool { return blocksOf(t, file) < 4<<20 })
	if err := say(file, "the end"); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want += "netlab-worker: the end\n"
	if got := published(t, b); got != want {
		t.Errorf("%d bytes, want %d; ends with %q", len(got), len(want), got[max(len(got)-300, 0):])
	}
	if info, err := os.Stat(file); err != nil || info.Size() < written {
		t.Errorf("the run's file has %d bytes of %d, %v", info.Size(), written, err)
	}
	if beginning := make([]byte, limit); true {
		in, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if _, err := in.Read(beginning); err != nil || !bytes.HasPrefix(flood, beginning[:1000]) {
			t.Errorf("the beginning is %.40q, %v", beginning, err)
		}
	}
}

// A program that truncates the output does not get a second limit.
func TestCutOutputKeepsItsLimit(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "output")
	ended := make(chan struct{})
	begin := func(ctx context.Context, known bool) chan error {
		s, done := newSpool(b, "a", "j", file, nil, 100), make(chan error, 1)
		go func() { done <- s.keep(ctx, ended, known, slog.New(slog.DiscardHandler)) }()
		return done
	}
	life, stop := context.WithCancel(ctx)
	done := begin(life, false)
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for i, text := range []string{strings.Repeat("x", 200) + "\n", "short\n", "shorter\n"} {
		if err := out.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
		for ctx.Err() == nil && (len(published(t, b)) < 200 || strings.Count(published(t, b), "truncated") < i) {
			time.Sleep(time.Millisecond)
		}
	}
	// Nor does a worker that comes back give it one.
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := out.WriteString("short\n"); err != nil {
		t.Fatal(err)
	}
	if err := say(file, "the end"); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := <-begin(ctx, true); err != nil {
		t.Fatal(err)
	}
	got := published(t, b)
	if strings.Count(got, "reached its limit") != 1 || strings.Contains(got, "short\n") || !strings.HasSuffix(got, "netlab-worker: the end\n") {
		t.Errorf("%q", got)
	}
}

// A run that floods its log ends as any other, and its end is in the log.
func TestEndOfAJobWhoseLogIsCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LogLimit = 1000 })
	b.run()
	birth := b.birth("j1", jobs.Create)
	birth.Request.TimeoutSeconds = 5
	b.send(birth)
	run := b.next()
	out, err := os.OpenFile(run.run.Output, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.WriteString(strings.Repeat("flood\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	receive(t, run.stopped)
	got := b.await("j1", ended)
	var log strings.Builder
	if err := b.bus.ReadLog(t.Context(), "a", "j1", func(c *bus.Chunk) error { log.Write(c.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if got.Reason != jobs.ReasonTimeout || got.LogBytes != int64(len(text)) || len(text) > 2000 ||
		!strings.HasPrefix(text, "netlab-worker: create in ") || !strings.Contains(text[900:], "\nnetlab-worker: the log has reached its limit of 1000 bytes") || !strings.Contains(text[1000:], "netlab-worker: timeout") {
		t.Errorf("%s, %d bytes: %q", got.Reason, got.LogBytes, text)
	}
}

// A program may make its output as long as it likes without writing it.
func TestAHoleThatEndsWithTheFile(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const size = 1 << 33
	if _, err := file.WriteString("text\n"); err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(size); err != nil {
		t.Skipf("the file system has no large files: %v", err)
	}
	h := &holes{file: file}
	if got := h.skip(holeBlock); got != size {
		t.Errorf("on to %d of %d", got, int64(size))
	}
	if got := h.skip(size - 5); got != size-5 {
		t.Errorf("from near the end to %d", got)
	}
}
