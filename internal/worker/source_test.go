package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"netlab-runner/internal/bus"
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
	// Between the two steps of a cut the spool may look at the output: its notice is then before the text. Or while the text is
	// being written, when no line seems to have ended yet: the notice begins another one.
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
			if after == masked+notice || after == notice+masked || after == masked+"\n"+notice {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("after a cut: %d bytes, want %d; %.100q ... %q", len(after), len(masked+notice), after, after[max(0, len(after)-300):])
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

// An output that was cut while no worker was there is told by what the bus has of it.
func TestOutputIsCutWhileTheWorkerIsAway(t *testing.T) {
	t.Parallel()
	const notice = "netlab-worker: a program of the job truncated the output (by `> /dev/stderr`, say): lines may be missing above; let it append (`>> /dev/stderr` or `>&2`)\n"
	before := strings.Repeat("before hunter2\n", 1000) // more than a chunk can have, in other lengths than the log
	masked := strings.ReplaceAll(before, "hunter2", "***")
	for name, test := range map[string]struct {
		limit int64
		// change is what happens to the output while the worker is away; what it has then is published behind what was there.
		change func(file string) error
		want   string
	}{
		"shorter":           {0, func(file string) error { return os.WriteFile(file, []byte("new hunter2\n"), 0o600) }, masked + "new ***\n" + notice},
		"shorter, the same": {0, func(file string) error { return os.Truncate(file, 30) }, masked + strings.Repeat("before ***\n", 2) + notice},
		"empty":             {0, func(file string) error { return os.Truncate(file, 0) }, masked + notice},
		"removed":           {0, os.Remove, masked + notice},
		"longer": {
			0, func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("new\n", 10_000)), 0o600) },
			masked + strings.Repeat("new\n", 10_000) + notice,
		},
		"beyond the limit": {
			100, func(file string) error { return os.WriteFile(file, []byte("new\n"), 0o600) },
			masked[:100] + "\nnetlab-worker: the log has reached its limit of 100 bytes (NETLAB_WORKER_LOG_LIMIT): what the job writes from here on is left out\n" + notice,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bustest.New(t)
			file := filepath.Join(t.TempDir(), "output")
			must(t, os.WriteFile(file, []byte(before), 0o600))
			live := func() {
				t.Helper()
				ended := make(chan struct{})
				close(ended)
				must(t, newSpool(b, "a", "j", file, []string{"hunter2"}, test.limit).keep(t.Context(), ended, true, slog.New(slog.DiscardHandler)))
			}
			live()
			must(t, test.change(file))
			live()
			if got := published(t, b); got != test.want {
				t.Errorf("%d bytes, want %d; ends with %q", len(got), len(test.want), got[max(0, len(got)-300):])
			}
			// The next worker makes the same log again.
			must(t, say(file, "the end"))
			live()
			if got := published(t, b); got != test.want+"netlab-worker: the end\n" {
				t.Errorf("then %d bytes, want %d and the end; ends with %q", len(got), len(test.want), got[max(0, len(got)-300):])
			}
		})
	}
}

// An output that nobody has cut is never taken for one that was, wherever its log stands.
func TestOutputIsNotCut(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ended := make(chan struct{})
	close(ended)
	output := "netlab-worker: begins\nsays hunter2\n\xff\xfe\né\n" + strings.Repeat("é hunter2 ", 15) + "\nno line end hunter2\nnetlab-worker: the end\nends with hunt"
	check := func(limit int64, size int, flush, cut bool) {
		t.Helper()
		file, id := filepath.Join(t.TempDir(), "output"), uuid.NewString()
		must(t, os.WriteFile(file, []byte(output), 0o600))
		first := newSpool(b, "a", id, file, []string{"hunter2"}, limit)
		must(t, first.begin(t.Context(), false))
		first.take([]byte(output[:size]), &source{}, &holes{off: true})
		must(t, first.publish(t.Context(), flush))
		if cut {
			must(t, saveOffset(file+cutSuffix, first.published.Load()))
		}
		for range 2 { // the last one has the whole log on the bus
			must(t, newSpool(b, "a", id, file, []string{"hunter2"}, limit).keep(t.Context(), ended, true, slog.New(slog.DiscardHandler)))
		}
		// While the run goes on, its output may end with what waits for more.
		last := newSpool(b, "a", id, file, []string{"hunter2"}, limit)
		must(t, last.begin(t.Context(), true))
		last.take([]byte(output), &source{}, &holes{off: true})
		var log strings.Builder
		must(t, b.ReadLog(t.Context(), "a", id, func(c *bus.Chunk) error { log.Write(c.Text); return nil }))
		if strings.Contains(log.String(), "truncated") || last.isOther(true) {
			t.Errorf("limit %d, %d bytes before, flush %v, cut off %v: %q", limit, size, flush, cut, log.String())
		}
	}
	for _, limit := range []int64{0, 60} {
		for size := 0; size <= len(output); size += 23 {
			for _, flush := range []bool{false, true} {
				check(limit, size, flush, false)
				check(limit, size, flush, true)
			}
		}
	}
}
