package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// A child of the run that lives on holds the output open, and writes on as fast as it can: the job ends all the same, with what
// was there when the run ended.
func TestAChildThatWritesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LogLimit = 256 << 10 })
	b.run()
	b.submit("j1", nil)
	run := b.next()
	output, err := os.OpenFile(filepath.Join(b.config.DataDir, "jobs", "j1", outputFile), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	done := make(chan struct{})
	var writing sync.WaitGroup
	line := bytes.Repeat([]byte("a child writes on\n"), 4000)
	writing.Go(func() {
		defer output.Close()
		for {
			select {
			case <-done:
				return
			default:
				if _, err := output.Write(line); err != nil {
					return
				}
			}
		}
	})
	defer writing.Wait()
	defer close(done)
	run.result <- exec.Result{}
	got := b.await("j1", ended)
	var log bytes.Buffer
	must(t, b.bus.ReadLog(t.Context(), "a", "j1", func(c *bus.Chunk) error { log.Write(c.Text); return nil }))
	if got.State != jobs.Success || got.LogBytes != int64(log.Len()) {
		t.Errorf("%s, %d bytes of log, %d on the bus", got.State, got.LogBytes, log.Len())
	}
	b.wantEmptyJournal()
}

// After jobs of all kinds of ends a worker has no more files open, and no more going on, than before.
func TestJobsLeaveNothingBehind(t *testing.T) {
	b := setup(t)
	b.run()
	one := func(i int) {
		t.Helper()
		id := "j" + strconv.Itoa(i)
		birth := b.birth(id, jobs.Up)
		switch i % 10 {
		case 0: // it is refused
			birth.Workdir = "/etc/nowhere"
			b.send(birth)
			b.await(id, ended)
			return
		case 1: // it takes too long
			birth.Request.TimeoutSeconds = 1
		}
		b.send(birth)
		run := b.next()
		switch {
		case i%10 == 1:
		case i%3 == 0:
			run.phases <- "Starting"
			run.result <- exec.Result{}
		case i%3 == 1:
			run.result <- exec.Result{ExitCode: 1, Error: "no"}
		default:
			b.cancel(id)
		}
		b.await(id, ended)
	}
	for i := range 5 {
		one(i)
	}
	b.wantEmptyJournal()
	files, routines := openFiles(t), runtime.NumGoroutine()
	for i := range 20 {
		one(5 + i)
	}
	b.wantEmptyJournal()
	// What has just ended may take a moment.
	var nowFiles []string
	nowRoutines := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		nowFiles, nowRoutines = openFiles(t), runtime.NumGoroutine()
		if len(nowFiles) <= len(files) && nowRoutines <= routines {
			return
		}
	}
	t.Errorf("%d files are open, %d were; %d goroutines, %d before:\n%s", len(nowFiles), len(files), nowRoutines, routines, strings.Join(nowFiles, "\n"))
}

// openFiles lists what this process has open.
func openFiles(t *testing.T) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if path, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasSuffix(path, "/proc/self/fd") {
			list = append(list, path)
		}
	}
	return list
}
