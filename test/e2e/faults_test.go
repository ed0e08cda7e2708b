package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// startsOf counts how often Netlab wrote the line that its run in the chatter directory begins with.
func startsOf(log string) int { return strings.Count(log, "chatter 1 of ") }

// awaitEmptyJournal waits until a worker has nothing more to remember, and has emptied what it keeps for the next jobs.
func (f *fleet) awaitEmptyJournal(dir string) {
	f.t.Helper()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(entries) > 0 {
			left = []string{filepath.Join(dir, entries[0].Name())}
		} else if left = contents(f.t, filepath.Join(filepath.Dir(dir), "spare")); len(left) == 0 {
			return
		}
	}
	f.t.Fatalf("the journal %s never became empty: %s", dir, left)
}

// contents are the files below the directory that have some.
func contents(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var info os.FileInfo
			if info, err = entry.Info(); err == nil && info.Size() > 0 {
				files = append(files, name)
			}
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // it has just gone
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWorkerIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	f := split(t, forkedRuns)
	a := f.any()
	dir := f.chatter("kill", object{"lines": 100, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
	a.awaitLog(t, job.ID, "chatter 100 of 100")
	f.workers[0].kill()
	// Netlab goes on, and ends, while no worker is there.
	openGate(t, dir)
	f.startWorker("alpha")
	ended, log := a.finish(t, job.ID)
	if ended.State != jobs.Success {
		t.Fatalf("%s: %s\n%s", ended.State, text(ended.Error), log)
	}
	if startsOf(log) != 1 {
		t.Errorf("Netlab was started %d times", startsOf(log))
	}
	if got := f.busLog(t, job.ID); got != log {
		t.Errorf("the bus has %d bytes, HTTP %d", len(got), len(log))
	}
	f.awaitEmptyJournal(f.path("worker-alpha", "jobs"))
}

func TestEverythingIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	f := single(t)
	dir := f.chatter("kill", object{"lines": 100, "gate": "gate"})
	job := f.any().submit(t, object{"action": "create", "workdir": dir})
	queued := f.any().submit(t, object{"action": "down", "workdir": dir})
	f.any().await(t, job.ID, "running", running)
	f.any().kill()
	f.startSingle()
	a := f.any()
	a.await(t, job.ID, "running", running)
	openGate(t, dir)
	for _, id := range []string{job.ID, queued.ID} {
		ended, log := a.finish(t, id)
		if ended.State != jobs.Success {
			t.Errorf("%s: %s %s", ended.Action, ended.State, text(ended.Error))
		}
		if id == job.ID && startsOf(log) != 1 {
			t.Errorf("Netlab was started %d times", startsOf(log))
		}
	}
}

func TestAPIIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	f := split(t)
	dir := f.chatter("kill", object{"lines": 100, "gate": "gate"})
	job := f.apis[1].submit(t, object{"action": "create", "workdir": dir})
	other := f.apis[0]
	text100, events100 := cutFollowers(t, f.apis[1], job.ID, "chatter 100 of 100", f.apis[1].kill)
	openGate(t, dir)
	// A follower that was cut goes on at the other API, where it was.
	_, tail := other.do(t, "GET", fmt.Sprintf("/jobs/%s/log?follow=true&offset=%d", job.ID, len(text100)), nil)
	events := events100.text + other.eventLog(t, job.ID, events100.lastID, jobs.Success)
	ended, want := other.finish(t, job.ID)
	if ended.State != jobs.Success {
		t.Fatalf("%s: %s", ended.State, text(ended.Error))
	}
	for what, got := range map[string]string{"the text": text100 + string(tail), "the events": events} {
		if got != want {
			t.Errorf("%s of a follower that was cut:\n%s\nwant\n%s", what, got, want)
		}
	}
	if at := len(text100); at == len(want) || len(events100.text) == len(want) {
		t.Errorf("cut at %d and %d of %d bytes", at, len(events100.text), len(want))
	}
	// The restarted one knows it again, also when it has lost its files.
	if err := os.RemoveAll(f.path("two", "logs")); err != nil {
		t.Fatal(err)
	}
	again := f.startAPI(f.apiEnvironment("two"))
	again.awaitReady(3)
	ended, got := again.finish(t, job.ID)
	if ended.State != jobs.Success || got != want {
		t.Errorf("%s with %d bytes of log, want %d", ended.State, len(got), len(want))
	}
}

// heard is what a follower of a log's events has heard, and the last id of it.
type heard struct{ text, lastID string }

// cutFollowers follows a job's log as text and as events, ends the API when both have heard the words, and returns what they have got.
func cutFollowers(t *testing.T, a *api, id, words string, end func()) (string, heard) {
	t.Helper()
	plain := a.open(t, "GET", "/jobs/"+id+"/log?follow=true", nil, "Accept", "text/plain")
	defer plain.Body.Close()
	stream := a.open(t, "GET", "/jobs/"+id+"/log", nil, "Accept", "text/event-stream")
	defer stream.Body.Close()
	var events, coming heard // what has come of an event that has not ended is nothing yet
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	next := func() bool {
		if !lines.Scan() {
			return false
		}
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			coming.lastID = value
		case "data":
			coming.text = value
		case "":
			var text string
			if err := json.Unmarshal([]byte(coming.text), &text); coming.text != "" && err != nil {
				t.Errorf("event data %q: %v", coming.text, err)
			}
			events = heard{events.text + text, coming.lastID}
			coming.text = ""
		}
		return true
	}
	for !strings.Contains(events.text, words) {
		if !next() {
			t.Fatalf("the events end: %v", lines.Err())
		}
	}
	var text strings.Builder
	for block := make([]byte, 4096); !strings.Contains(text.String(), words); {
		n, err := plain.Body.Read(block)
		text.Write(block[:n])
		if err != nil {
			t.Fatalf("the text ends: %v", err)
		}
	}
	end()
	for next() {
	}
	rest, err := io.ReadAll(plain.Body)
	if err == nil {
		t.Error("the text ends as if it were whole")
	}
	text.Write(rest)
	return text.String(), events
}

// A status that the bus has lost does not let the job run again.
func TestStatusIsLostInTheMiddle(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.chatter("lost", object{"lines": 1, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir})
	a.awaitLog(t, job.ID, "chatter 1 of ")
	js, err := jetstream.New(f.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "NETLAB_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("netlab.jobs.*."+job.ID+".status")); err != nil {
		t.Fatal(err)
	}
	openGate(t, dir)
	ended, log := a.finish(t, job.ID)
	if ended.State != jobs.Success || startsOf(log) != 1 {
		t.Errorf("%s %s, started %d times", ended.State, text(ended.Error), startsOf(log))
	}
}

// The driver, not what it runs, is gone: nobody knows how the run ended, and nothing of it goes on.
func TestDriverIsKilled(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.chatter("driver", object{"lines": 1, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir})
	a.awaitLog(t, job.ID, "chatter 1 of ")
	var driver struct{ PID int }
	content, err := os.ReadFile(f.path("data", "worker", "jobs", job.ID, "run-1", "driver.json"))
	if err == nil {
		err = json.Unmarshal(content, &driver)
	}
	if err != nil || driver.PID == 0 {
		t.Fatal(driver.PID, err)
	}
	if err := syscall.Kill(driver.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended, log := a.finish(t, job.ID)
	if ended.State != jobs.Failed || ended.Reason != jobs.ReasonInterrupted || !strings.Contains(log, "netlab-worker: interrupted") {
		t.Errorf("%s, reason %q\n%s", ended.State, ended.Reason, log)
	}
	for _, words := range append([]string{"Netlab's driver is gone without a result"}, ofLab(&ended, "; no lab in "+dir+": no status file lists one")...) {
		if !strings.Contains(text(ended.Error), words) || !strings.Contains(log, words) {
			t.Errorf("the error and the log are to say %q: %s\n%s", words, text(ended.Error), log)
		}
	}
	if left := processesWith(t, job.ID); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
}

func TestNetlabIsKilled(t *testing.T) {
	t.Parallel()
	f := single(t)
	dir := f.chatter("crash", object{"lines": 1, "crash": "kill"})
	job, log := f.any().run(t, jobs.Failed, object{"action": "create", "workdir": dir})
	if job.Reason != jobs.ReasonNetlabFailed || job.ExitCode == nil || *job.ExitCode != 128+9 {
		t.Errorf("reason %q, exit code %v, error %s\n%s", job.Reason, job.ExitCode, text(job.Error), log)
	}
}

// The API's file of a log is the API's: what others do to it is put right from the bus.
func TestLogFileIsChangedByOthers(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.chatter("file", object{"lines": 50, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir})
	a.awaitLog(t, job.ID, "chatter 50 of 50")
	if err := os.Truncate(job.LogPath, 0); err != nil {
		t.Fatal(err)
	}
	openGate(t, dir)
	// A follower may be broken off by it, and comes back.
	a.await(t, job.ID, "ended", func(j *jobs.Job) bool { return j.State.Terminal() })
	want := f.busLog(t, job.ID)
	if got := a.jsonLog(t, job.ID, 0).Log; got != want {
		t.Errorf("cut while it ran: %d bytes, want %d", len(got), len(want))
	}
	if err := os.Remove(job.LogPath); err != nil {
		t.Fatal(err)
	}
	if _, got := a.finish(t, job.ID); got != want {
		t.Errorf("removed at the end: %d bytes, want %d", len(got), len(want))
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	f := single(t)
	dir := f.chatter("slow", object{"lines": 1, "gate": "gate"})
	job, log := f.any().run(t, jobs.Failed, object{"action": "create", "workdir": dir, "timeoutSeconds": 2})
	if job.Reason != jobs.ReasonTimeout || !strings.Contains(log, "netlab-worker: timeout") {
		t.Errorf("reason %q\n%s", job.Reason, log)
	}
}

func TestSecretsStayOnTheHost(t *testing.T) {
	t.Parallel()
	f := single(t)
	const secret = "correct-horse-battery"
	dir := f.lab("secret", "frr3")
	// A plugin that says what it should not.
	plugin := "import os\n\ndef init(topology):\n  print('token', os.environ['LAB_TOKEN'], os.environ['NETLAB_TEST_MARK'], flush=True)\n"
	if err := os.WriteFile(filepath.Join(dir, "leak.py"), []byte(plugin), 0o644); err != nil {
		t.Fatal(err)
	}
	a := f.any()
	// What Netlab itself says of a failure is masked too.
	crash := f.lab("crash", "frr3")
	if err := os.WriteFile(filepath.Join(crash, "leak.py"), []byte(plugin+"  raise Exception('bad token ' + os.environ['LAB_TOKEN'])\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken, _ := a.run(t, jobs.Failed, object{"action": "create", "workdir": crash, "plugin": "leak", "environment": object{"LAB_TOKEN": secret, "NETLAB_TEST_MARK": "shown"}})
	if !strings.Contains(text(broken.Error), "bad token ***") {
		t.Errorf("error %q", text(broken.Error))
	}
	job, log := a.run(t, jobs.Success, object{
		"action": "create", "workdir": dir, "plugin": "leak",
		"environment": object{"LAB_TOKEN": secret, "NETLAB_TEST_MARK": "shown"},
	})
	if !strings.Contains(log, "token *** shown") {
		t.Errorf("log:\n%s", log)
	}
	if job.Request.Environment["LAB_TOKEN"] != "***" || job.Request.Environment["NETLAB_TEST_MARK"] != "shown" {
		t.Errorf("request shows %v", job.Request.Environment)
	}
	// What Netlab wrote is kept, readable by the worker alone, until the log is on the bus.
	f.awaitEmptyJournal(f.path("data", "worker", "jobs"))
	if n := (secrets{secret}).inFiles(t, f.dir, false); n < 20 {
		t.Errorf("only %d files looked at", n)
	}
}

func TestNetlabIsMissing(t *testing.T) {
	t.Parallel()
	// The system's Python has no Netlab.
	python := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(python, []byte("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'netsim'\" >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := single(t, "NETLAB_WORKER_PYTHON="+python)
	var list struct {
		Hosts []struct {
			Netlab struct{ Error string }
		}
	}
	f.any().get(t, "/hosts", &list)
	if said := list.Hosts[0].Netlab.Error; !strings.Contains(said, "NETLAB_WORKER_PYTHON") {
		t.Errorf("GET /hosts says %q", said)
	}
	job, log := f.any().run(t, jobs.Failed, object{"action": "create", "workdir": f.lab("x", "frr3")})
	if job.Reason != jobs.ReasonHostFailed || !strings.Contains(text(job.Error), "NETLAB_WORKER_PYTHON") || !strings.Contains(log, "NETLAB_WORKER_PYTHON") {
		t.Errorf("reason %q, error %q, log:\n%s", job.Reason, text(job.Error), log)
	}
	f.any().expect("Netlab cannot be used")
}
