package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// fill stores log of other jobs until the stream takes no more, and returns how to make room again.
func (b *testBundle) fill() (empty func()) {
	b.t.Helper()
	limits := bus.Limits{Replicas: 1, JobsBytes: 16 << 20, LogsBytes: 1 << 20, ObjectsBytes: 64 << 20, Lease: time.Minute}
	must(b.t, b.bus.EnsureStreams(b.t.Context(), limits))
	for size, n := 64<<10, 0; size > 0; n++ {
		text := []byte(noise(size))
		if _, err := b.bus.PublishLog(b.t.Context(), &bus.Chunk{Host: "other", Job: fmt.Sprint("job", n), Text: text}, 0); err != nil {
			size /= 2
		}
	}
	return func() {
		limits.LogsBytes = 64 << 20
		must(b.t, b.bus.EnsureStreams(b.t.Context(), limits))
	}
}

// A log that the bus has no room for waits while the run goes on, and comes whole where there is room in time.
func TestALogThatWaitsForRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LogPatience = time.Hour })
	b.run()
	empty := b.fill()
	b.submit("j1", nil)
	run := b.next()
	if got := b.worker.live.all()[0].spool.patience; got != time.Hour {
		t.Errorf("it waits for %s", got)
	}
	must(t, appendTo(run.run.Output, "a line that has no room\n"))
	run.result <- exec.Result{}
	b.await("j1", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	empty()
	got := b.await("j1", ended)
	if log := b.log("j1"); !strings.HasSuffix(log, "a line that has no room\n") || got.LogBytes != int64(len(log)) || len(got.Warnings) > 0 {
		t.Errorf("%d bytes of %q, warnings %q", got.LogBytes, log, got.Warnings)
	}
}

// A job whose log the bus has no room for ends all the same, and says so. A worker that comes in between makes the same log.
func TestALogThatHasNoRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LogPatience = 1 })
	b.run()
	b.submit("j1", nil)
	run := b.next()
	b.eventually("the log begins", func() bool { return b.log("j1") != "" })
	begun := b.log("j1")
	empty := b.fill()
	must(t, appendTo(run.run.Output, strings.Repeat("a line that has no room\n", 100)))
	run.result <- exec.Result{}
	got := b.await("j1", ended)
	if got.State != jobs.Success || !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, fmt.Sprintf("cut off at %d bytes", len(begun))) }) {
		t.Errorf("%s, warnings %q", got.State, got.Warnings)
	}
	if log := b.log("j1"); !strings.HasPrefix(log, begun) || got.LogBytes != int64(len(log)) {
		t.Errorf("%d bytes of %q", got.LogBytes, log)
	}
	empty()
	b.wantEmptyJournal()
}

// A log is cut off when its run has ended and its patience has, and not before.
func TestALogIsCutOffAfterItsPatience(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ended    bool
		patience time.Duration
		want     int64 // where it is cut off
	}{
		"the run goes on":    {false, 0, uncut},
		"there is time left": {true, time.Hour, uncut},
		"it has run out":     {true, 0, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpool(nil, "a", "j", filepath.Join(t.TempDir(), "output"), nil, 0)
			ended := make(chan struct{})
			if test.ended {
				close(ended)
			}
			s.ended, s.patience = ended, test.patience
			s.published.Store(4)
			var err error
			for range 2 {
				must(t, err)
				err = s.awaitRoom(t.Context(), bus.ErrFull)
			}
			if cut := errors.Is(err, errAgain); err != nil && !cut || cut != (test.want != uncut) {
				t.Error(err)
			}
			if got, err := loadOffset(s.file+cutSuffix, uncut); err != nil || got != test.want {
				t.Errorf("cut off at %d, %v", got, err)
			}
		})
	}
}

func TestACutLogIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	file := filepath.Join(t.TempDir(), "output")
	must(t, appendTo(file, "one\ntwo\n"), saveOffset(file+cutSuffix, 4))
	for range 2 {
		must(t, appendTo(file, "three\nnetlab-worker: the end\n"))
		s := newSpool(b.bus, "a", "j", file, nil, 0)
		ended := make(chan struct{})
		close(ended)
		must(t, s.keep(t.Context(), ended, true, b.config.Log))
	}
	want := "one\nnetlab-worker: the bus has no room for the rest of this log (NETLAB_BUS_LOGS_BYTES): it is left out\n" +
		strings.Repeat("netlab-worker: the end\n", 2)
	if got := published(t, b.bus); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// noise is text that cannot be compressed.
func noise(size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = byte('!' + rand.IntN(90))
	}
	return string(text)
}

// log is what the bus has of the log of a job of the host.
func (b *testBundle) log(id string) string {
	b.t.Helper()
	var log strings.Builder
	must(b.t, b.bus.ReadLog(b.t.Context(), "a", id, func(c *bus.Chunk) error { log.Write(c.Text); return nil }))
	return log.String()
}
