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
	// Between the two steps of a cut the spool may look at the output: its notice is then before the text.
	const notice = "netlab-worker: a program of the job truncated the output (by `> /dev/stderr`, say): lines may be missing above; let it append (`>> /dev/stderr` or `>&2`)\n"
	cut := func(text string) {
		t.Helper()
		before := published(t, b)
		out, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
		masked := strings.ReplaceAll(text, "hunter2", "***")
		for {
			after := strings.TrimPrefix(published(t, b), before)
			if after == masked+notice || after == notice+masked {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("after a cut: %.300q", after)
			}
		}
	}
	if err := say(file, "begins"); err != nil {
		t.Fatal(err)
	}
	for published(t, b) != "netlab-worker: begins\n" {
		if ctx.Err() != nil {
			t.Fatalf("%q", published(t, b))
		}
	}
	cut("short\n")
	// Cut, and longer than before when it is looked at.
	cut(strings.Repeat("long hunter2\n", 1000))
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
