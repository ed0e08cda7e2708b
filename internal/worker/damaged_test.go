package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// ending ends when the file "end" is there.
const ending = "while [ ! -e end ]; do sleep 0.02; done"

// What there may be in place of a file with a content.
const (
	removed = "(removed)"
	aPipe   = "(pipe)"
	aFolder = "(folder)"
)

// damage replaces a file.
func damage(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.RemoveAll(path))
	switch content {
	case removed:
	case aPipe:
		must(t, unix.Mkfifo(path, 0o600))
	case aFolder:
		must(t, os.Mkdir(path, 0o700))
	default:
		must(t, os.WriteFile(path, []byte(content), 0o600))
	}
}

// Whatever a file of the journal holds, the job of a run that has ended comes to an end: to the true one where that can be known.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	must(t, err)
	// A process that has nothing to do with the run.
	foreign := lives(t, "another")
	fence := func(pid int, boot string) string {
		return fmt.Sprintf(`{"pid":%d,"start":1,"boot":%q}`, pid, strings.TrimSpace(boot))
	}
	for i, test := range []struct {
		file    string // below the job's directory
		content string
		reason  jobs.Reason // "": the end is the one that result.json says
	}{
		{"scene.json", "{", ""},
		{"scene.json", "\x00\x00\x00", ""},
		{"scene.json", `{"who":7}`, ""},
		{"run-1/plan.json", "", ""},
		{"run-1/plan.json", "{", ""},
		{"run-1/progress", "{\n\x00\xff\n[[[[", ""},
		{"run-1/errors", "\x00\xff{", ""},
		{"run-1/verdict.json", "{", ""},
		{"run-1/driver.json", "", jobs.ReasonInterrupted},
		{"run-1/driver.json", "{", jobs.ReasonInterrupted},
		{"run-1/driver.json", "null", jobs.ReasonInterrupted},
		{"run-1/driver.json", fence(-7, string(boot)), jobs.ReasonInterrupted},
		{"run-1/driver.json", fence(0, string(boot)), jobs.ReasonInterrupted},
		// The number is another process's by now, or the machine was started anew: the result is the run's all the same.
		{"run-1/driver.json", fence(foreign.Process.Pid, string(boot)), ""},
		{"run-1/driver.json", fence(foreign.Process.Pid, "another boot"), ""},
		{"run-1/result.json", "", jobs.ReasonInterrupted},
		{"run-1/result.json", `{"exitCode":`, jobs.ReasonInterrupted},
		{"run-1/result.json", "null", jobs.ReasonInterrupted},
		{"run-1/result.json", "{}", jobs.ReasonInterrupted},
		{"output.base", "no number", ""},
		{"output.base", "-1", ""},
		{"output.base", "", ""},
		{"scene.json", removed, ""},
		{"run-1/plan.json", removed, ""},
		{"run-1/progress", removed, ""},
		{"run-1/errors", removed, ""},
		{"run-1/verdict.json", removed, ""},
		{"run-1/driver.json", removed, jobs.ReasonInterrupted},
		{"run-1/result.json", removed, jobs.ReasonInterrupted},
		{"output", removed, ""},
		{"output.base", removed, ""},
		{"run-1/progress", aPipe, ""},
		{"run-1/verdict.json", aPipe, ""},
		{"run-1/driver.json", aPipe, jobs.ReasonInterrupted},
		{"run-1/result.json", aPipe, jobs.ReasonInterrupted},
		{"run-1/driver.json", aFolder, jobs.ReasonInterrupted},
		{"run-1/result.json", aFolder, jobs.ReasonInterrupted},
	} {
		t.Run(fmt.Sprintf("%s %q", filepath.Base(test.file), test.content), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := fmt.Sprintf("damaged-%d", i) // stopped by it, wherever on the machine
			birth := b.birth(id, jobs.Up)
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, ending, map[string]string{"result.json": `{"exitCode":0}`})
			must(t, os.WriteFile(filepath.Join(run.dir, "end"), nil, 0o600))
			damage(t, filepath.Join(filepath.Dir(run.dir), test.file), test.content)
			b.run()
			got := b.await(id, ended)
			if test.reason == "" {
				wantEnd(t, got, jobs.Success, "")
			} else {
				wantEnd(t, got, jobs.Failed, test.reason, "no lab in "+birth.Workdir+": no status file lists one and it has no container; `up` starts it")
			}
			if n := b.starts.Load(); n != 0 {
				t.Errorf("%d runs", n)
			}
			b.wantEmptyJournal()
		})
	}
	t.Cleanup(func() { // behind all of them
		if there, err := exec.Lives("another"); err != nil || !there {
			t.Errorf("the foreign process lives: %v, %v", there, err)
		}
	})
}

// A run whose files do not say which process it is, or whose plan says nothing, is still found by its job.
func TestCancelOfARunWhoseFilesAreDamaged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("planless", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, obedient, nil)
	run.awaitReady(t)
	must(t, os.WriteFile(filepath.Join(run.dir, "plan.json"), []byte("{"), 0o600))
	lives(t, "planless") // in another session, and with another parent
	b.run()
	b.await("planless", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	b.cancel("planless")
	wantEnd(t, b.await("planless", ended), jobs.Canceled, jobs.ReasonCanceled)
	if there, err := exec.Lives("planless"); err != nil || there {
		t.Errorf("it lives: %v %v", there, err)
	}
}

// Where it cannot be told how much of the output is on the bus, the log goes on behind what is there, and says so.
func TestALogThatStandsNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	b.taken(birth)
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, ending, map[string]string{"result.json": `{"exitCode":0}`})
	must(t, os.WriteFile(filepath.Join(run.dir, "end"), nil, 0o600))
	if _, err := b.bus.PublishLog(t.Context(), &bus.Chunk{Host: "a", Job: "j1", Text: []byte("one\ntwo\n")}, 0); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(filepath.Dir(run.dir), outputFile)
	must(t, os.WriteFile(output, []byte("two\nthree\n"), 0o600), os.WriteFile(output+baseSuffix, []byte("?"), 0o600))
	b.run()
	got := b.await("j1", ended)
	var log strings.Builder
	must(t, b.bus.ReadLog(t.Context(), "a", "j1", func(c *bus.Chunk) error { log.Write(c.Text); return nil }))
	if text := log.String(); !strings.HasPrefix(text, "one\ntwo\ntwo\nthree\nnetlab-worker: the record of where this log stood is damaged") || got.LogBytes != int64(len(text)) {
		t.Errorf("%d bytes: %q", got.LogBytes, text)
	}
}
