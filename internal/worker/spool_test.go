package worker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/logtext"
)

func published(t *testing.T, b *bus.Bus) string {
	t.Helper()
	var log strings.Builder
	err := b.ReadLog(t.Context(), "a", "j", func(c *bus.Chunk) error {
		if c.Offset != int64(log.Len()) {
			t.Errorf("chunk at %d, want %d", c.Offset, log.Len())
		}
		if !utf8.Valid(c.Text) || len(c.Text) > logtext.ChunkSize {
			t.Errorf("chunk of %d bytes, valid %v", len(c.Text), utf8.Valid(c.Text))
		}
		log.Write(c.Text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return log.String()
}

func TestSpoolPublishesWhatIsWritten(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	file := filepath.Join(t.TempDir(), "output")
	s := newSpool(b, "a", "j", file, []string{"hunter2"}, 0)
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.run(ctx, ended) }()

	follow, stop := context.WithCancel(ctx)
	chunks := make(chan string, 1000)
	following := make(chan struct{})
	go func() {
		defer close(following)
		_ = b.FollowLogs(follow, bus.Mark{}, func(c *bus.Chunk, _ bus.Mark) { chunks <- string(c.Text) }, func() {})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-chunks:
			if got != want {
				t.Errorf("chunk %q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no chunk %q", want)
		}
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	write := func(text string) {
		t.Helper()
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("hello\n")
	expect("hello\n")
	// A prompt has no line end and never will.
	write("continue? ")
	expect("continue? ")
	write("hunter")
	write("2 and \xff\n")
	expect("*** and \uFFFD\n")
	if err := say(file, "the end"); err != nil {
		t.Fatal(err)
	}
	expect("netlab-worker: the end\n")
	write("no line end")
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	expect("no line end")
	stop()
	<-following
	want := "hello\ncontinue? *** and \uFFFD\nnetlab-worker: the end\nno line end"
	if diff := cmp.Diff(want, published(t, b)); diff != "" {
		t.Error(diff)
	}
	if s.published.Load() != int64(len(want)) {
		t.Errorf("published %d, want %d", s.published.Load(), len(want))
	}
}

// A worker that comes back makes the same log from the output and goes on behind what the bus has.
func TestSpoolResumesAnywhere(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	file := filepath.Join(t.TempDir(), "output")
	var output strings.Builder
	for i := range 20_000 {
		output.WriteString(strings.Repeat("é", i%40) + " hunter2 \xfe\n")
	}
	want := strings.ReplaceAll(strings.ReplaceAll(output.String(), "hunter2", "***"), "\xfe", "\uFFFD")
	if err := os.WriteFile(file, []byte(output.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	close(ended)
	for life := 0; ; life++ {
		s := newSpool(b, "a", "j", file, []string{"hunter2"}, 0)
		if err := s.resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Each life is cut short after some chunks.
		ctx, cancel := context.WithCancel(t.Context())
		stop := make(chan struct{})
		if life < 5 {
			go func() {
				defer close(stop)
				for s.published.Load() < int64(life+1)*100_000 && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
		} else {
			close(stop)
		}
		err := s.run(ctx, ended)
		cancel()
		<-stop
		if err == nil {
			break
		}
	}
	if got := published(t, b); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestSayBeginsALine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "output")
	for _, text := range []string{"", "half"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := say(file, "two\nlines"); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := "netlab-worker: two\nnetlab-worker: lines\n"
		if text != "" {
			want = text + "\n" + want
		}
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A log that somebody else has written to is gone on with, not given up for the rest of the run.
func TestSpoolGoesOnAfterAConflict(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	file := filepath.Join(t.TempDir(), "output")
	s := newSpool(b, "a", "j", file, nil, 0)
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.keep(ctx, ended, false, slog.New(slog.DiscardHandler)) }()
	if err := say(file, "one"); err != nil {
		t.Fatal(err)
	}
	var chunk *bus.Chunk
	for chunk == nil && ctx.Err() == nil {
		chunk, _ = b.LastChunk(ctx, "a", "j")
	}
	// The same text that the spool would write next, by a worker before this one, say.
	next := &bus.Chunk{Host: "a", Job: "j", Offset: chunk.End(), Text: []byte("netlab-worker: two\n")}
	if _, err := b.PublishLog(ctx, next, chunk.Seq); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"two", "three"} {
		if err := say(file, "%s", text); err != nil {
			t.Fatal(err)
		}
	}
	want := "netlab-worker: one\nnetlab-worker: two\nnetlab-worker: three\n"
	for published(t, b) != want {
		if ctx.Err() != nil {
			t.Fatalf("%q while the run goes on, want %q", published(t, b), want)
		}
	}
	close(ended)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSayIsNotSaidTwice(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "output")
	for range 2 {
		if err := say(file, "the same"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "netlab-worker: the same\n" {
		t.Errorf("%q %v", got, err)
	}
}
