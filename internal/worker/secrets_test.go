package worker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// sealedToALostKey seals the variable to a key that no worker has.
func sealedToALostKey(t *testing.T, value string) *bus.Sealed {
	t.Helper()
	key, err := bus.LoadHostKey(filepath.Join(t.TempDir(), "host.key"))
	must(t, err)
	public, err := key.Public()
	must(t, err)
	sealed, err := bus.SealEnvironment(map[string]string{"MY_PASSWORD": value}, public)
	must(t, err)
	return sealed
}

// states follows the jobs on the bus, and returns what returns all that was told until then.
func (b *testBundle) states() func() []string {
	b.t.Helper()
	var told []string
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.bus.FollowJobs(ctx, false, func(m *bus.JobMessage) {
			text, _ := json.Marshal(m.Job)
			told = append(told, string(text))
		}, func(string, uint64) {}, func() {})
	}()
	return func() []string {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			b.t.Error(err)
		}
		return told
	}
}

// The key of the host is lost while a run goes on: the run is waited for, and nothing more of what it writes is shown, since nobody
// can tell its secrets any more.
func TestARunWhoseHostKeyIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	birth.Sealed = sealedToALostKey(t, "supersecret1")
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, ending, map[string]string{
		"result.json": `{"exitCode":1,"error":"no supersecret1 here","errors":[{"text":"supersecret1"}],"warnings":["supersecret1"]}`,
		"progress":    `{"phase":"using supersecret1"}` + "\n",
	})
	b.send(birth)
	output := filepath.Join(filepath.Dir(run.dir), outputFile)
	if _, err := b.bus.PublishLog(t.Context(), &bus.Chunk{Host: "a", Job: "j1", Text: []byte("is ***\n")}, 0); err != nil {
		t.Fatal(err)
	}
	must(t, appendTo(output, "is supersecret1\nis still supersecret1\n"))
	told := b.states()
	b.run()
	const marker = "netlab-worker: the rest of the log is left out"
	b.eventually("the log says why it ends", func() bool { return strings.Contains(b.log("j1"), marker) })
	// The next job of the directory waits for the run.
	next := b.birth("j2", jobs.Up)
	next.Workdir = birth.Workdir
	b.send(next)
	b.eventually("the next job is taken", func() bool { return b.worker.journal.has("j2") })
	if got, err := b.bus.LastStatus(t.Context(), "a", "j1"); err != nil || got.State != jobs.Running || b.starts.Load() > 0 {
		t.Errorf("while its driver lives: %+v, %v, %d other runs", got, err, b.starts.Load())
	}
	must(t, os.WriteFile(filepath.Join(run.dir, "end"), nil, 0o600))
	got := b.await("j1", ended)
	wantEnd(t, got, jobs.Failed, jobs.ReasonNetlabFailed)
	if !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "the rest of the log is left out") }) {
		t.Errorf("warnings %q", got.Warnings)
	}
	log := b.log("j1")
	if !strings.HasPrefix(log, "is ***\n"+marker) || strings.Count(log, marker) != 1 || got.LogBytes != int64(len(log)) {
		t.Errorf("%d bytes of log: %q", got.LogBytes, log)
	}
	if strings.Contains(log, "supersecret1") {
		t.Errorf("the secret is in the log")
	}
	b.next().result <- exec.Result{}
	wantEnd(t, b.await("j2", ended), jobs.Success, "")
	for _, state := range told() {
		if strings.Contains(state, "supersecret1") {
			t.Errorf("the secret is in %s", state)
		}
	}
}

// A log that was begun without what the run writes goes on so, also where the key is back, and says it once.
func TestAHiddenOutputStaysHidden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	e, _, err := b.worker.journal.add(b.birth("j1", jobs.Up), 1, false)
	must(t, err)
	if _, err := b.bus.PublishLog(t.Context(), &bus.Chunk{Host: "a", Job: "j1", Text: []byte("is ***\n")}, 0); err != nil {
		t.Fatal(err)
	}
	must(t, appendTo(e.output()+hiddenSuffix, "is supersecret1\n")) // the worker before was killed here
	want := "netlab-worker: " + hiddenText + "\n"
	for range 2 {
		r := newRun(b.worker, &task{entry: e}, b.config.Log)
		must(t, r.hideOutput(t.Context(), true))
		got, err := os.ReadFile(e.output())
		must(t, err)
		base, err := loadOffset(e.output()+baseSuffix, 0)
		must(t, err)
		if !r.hidden || string(got) != want || base != int64(len("is ***\n")) {
			t.Errorf("hidden %v, at %d: %q", r.hidden, base, got)
		}
		must(t, say(e.output(), "canceled"))
		want += "netlab-worker: canceled\n"
	}
}
