package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// A run that writes nothing is not taken for stuck: its log says now and then that it goes on.
func TestARunThatWritesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Quiet = 300 * time.Millisecond })
	b.run()
	b.submit("one", nil)
	run := b.next()
	const words = "\nnetlab-worker: no output for "
	times := 0
	for end := time.Now().Add(limit); times < 2; time.Sleep(5 * time.Millisecond) {
		content, err := os.ReadFile(filepath.Join(b.config.DataDir, "jobs", "one", "output"))
		if err != nil {
			t.Fatal(err)
		}
		if times = strings.Count(string(content), words); time.Now().After(end) {
			t.Fatalf("%d times in\n%s", times, content)
		}
	}
	run.result <- exec.Result{}
	last := b.await("one", ended)
	chunk, err := b.bus.LastChunk(t.Context(), "a", "one")
	if err != nil {
		t.Fatal(err)
	}
	if last.State != jobs.Success || chunk.End() != last.LogBytes || !strings.Contains(string(chunk.Text), "the run goes on (") {
		t.Errorf("%+v, the last chunk is %q", last.Job, chunk.Text)
	}
}
