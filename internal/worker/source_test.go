package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus/bustest"
)

// A script that truncates the output loses what was not read of it, and nothing that was published.
func TestSpoolOfAnOutputThatIsCut(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "output")
	s := newSpool(b, "a", "j", file, []string{"hunter2"}, 0)
	if err := s.begin(ctx, false); err != nil {
		t.Fatal(err)
	}
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.run(ctx, ended) }()
	await := func(want string) {
		t.Helper()
		for !strings.HasSuffix(published(t, b), want) {
			if ctx.Err() != nil {
				t.Fatalf("%q does not end with %q", published(t, b), want)
			}
		}
	}
	cut := func(text string) {
		t.Helper()
		out, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := say(file, "begins"); err != nil {
		t.Fatal(err)
	}
	await("netlab-worker: begins\n")
	cut("short\n")
	await("(`>> /dev/stderr` or `>&2`)\n")
	before := published(t, b)
	if !strings.HasPrefix(before, "netlab-worker: begins\nshort\nnetlab-worker: a program of the job truncated the output") {
		t.Errorf("%q", before)
	}
	// Cut, and longer than before when it is looked at.
	cut(strings.Repeat("long hunter2\n", 1000))
	await("(`>> /dev/stderr` or `>&2`)\n")
	for !strings.HasPrefix(published(t, b), before+"long ***\n") || strings.Count(published(t, b), "truncated") < 2 {
		if ctx.Err() != nil {
			t.Fatalf("%.200q", published(t, b)[len(before):])
		}
	}
	// A worker that comes back goes on where this one was.
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	whole := published(t, b)
	if err := say(file, "the end"); err != nil {
		t.Fatal(err)
	}
	again := newSpool(b, "a", "j", file, []string{"hunter2"}, 0)
	if err := again.begin(ctx, true); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := again.run(ctx, ended); err != nil {
		t.Fatal(err)
	}
	if got := published(t, b); got != whole+"netlab-worker: the end\n" {
		t.Errorf("%d bytes, want %d and the end", len(got), len(whole))
	}
	if again.published.Load() != int64(len(published(t, b))) {
		t.Errorf("published %d of %d", again.published.Load(), len(published(t, b)))
	}
}
