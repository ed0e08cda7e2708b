package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// What is on the disk and on the bus bears times of a clock that was set a day off since.
const day = 24 * time.Hour

// The timeout of a run that a worker before this one has started is reckoned from its start, whatever the times of its files.
func TestTimeoutAfterTheClockWasSet(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"forward": -day, "back": day} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth("j1", jobs.Up)
			birth.Request.TimeoutSeconds = map[bool]int{true: 3600, false: 1}[off < 0]
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, obedient, nil)
			run.awaitReady(t)
			for _, file := range []string{"plan.json", "driver.json"} {
				must(t, os.Chtimes(filepath.Join(run.dir, file), time.Now().Add(off), time.Now().Add(off)))
			}
			b.run()
			if off > 0 {
				wantEnd(t, b.await("j1", ended), jobs.Failed, jobs.ReasonTimeout, "timeout of 1s")
				return
			}
			b.await("j1", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
			must(t, run.process.Process.Signal(os.Interrupt))
			wantEnd(t, b.await("j1", ended), jobs.Failed, jobs.ReasonNetlabFailed)
		})
	}
}

// The same of a run whose journal was lost, by what its job says of its start.
func TestTimeoutOfALostRunAfterTheClockWasSet(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"forward": -day, "back": day} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, id := setup(t), "clock-"+name
			birth := b.birth(id, jobs.Up)
			birth.Request.TimeoutSeconds = map[bool]int{true: 3600, false: 1}[off < 0]
			b.taken(birth)
			running := birth.Job
			must(t, running.Move(jobs.Start, time.Now().Add(off)))
			if _, err := b.bus.PublishStatus(t.Context(), &running, 0); err != nil {
				t.Fatal(err)
			}
			process := lives(t, id)
			b.run()
			b.reconcile(t.Context(), id)
			if off > 0 {
				wantEnd(t, b.await(id, ended), jobs.Failed, jobs.ReasonTimeout, "timeout of 1s")
				return
			}
			for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if _, err := b.bus.LastChunk(t.Context(), "a", id); err == nil {
					break
				}
			}
			must(t, process.Process.Kill())
			wantEnd(t, b.await(id, ended), jobs.Failed, jobs.ReasonInterrupted)
		})
	}
}

// A run that writes all the time is not said to be silent, whatever the clock says of when it wrote.
func TestSilenceAfterTheClockWasSet(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"forward": -day, "back": day} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *Config) { c.Quiet = 2 * time.Second })
			b.run()
			b.submit("j1", nil)
			run := b.next()
			output := filepath.Join(b.config.DataDir, "jobs", "j1", outputFile)
			for i := range 160 {
				at := time.Now().Add(off + time.Duration(i)*time.Second)
				must(t, os.Chtimes(output, at, at))
				time.Sleep(50 * time.Millisecond)
			}
			run.result <- exec.Result{}
			b.await("j1", ended)
			chunk, err := b.bus.LastChunk(t.Context(), "a", "j1")
			if err != nil || strings.Contains(string(chunk.Text), "no output for") {
				t.Errorf("%v, %q", err, chunk.Text)
			}
		})
	}
}
