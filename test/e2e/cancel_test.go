package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// stopLimit is how long a run may take to end, whatever its programs ignore: 15 s, and what a busy machine takes besides.
const stopLimit = 30 * time.Second

// cancel asks for a job's end and returns the job of the answer.
func (a *api) cancel(t *testing.T, id string) (job jobs.Job) {
	t.Helper()
	status, body := a.do(t, "POST", "/jobs/"+id+"/cancel", object{})
	if status != http.StatusOK {
		t.Fatalf("cancel of %s: %d %s", id, status, body)
	}
	if err := json.Unmarshal(body, &job); err != nil {
		t.Fatal(err)
	}
	return job
}

func TestCancelOfAQueuedJob(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		a := f.any()
		dir := f.chatter("slow", object{"lines": 1, "gate": "gate"})
		first := a.submit(t, object{"action": "create", "workdir": dir})
		a.awaitLog(t, first.ID, "chatter 1 of ")
		queued := a.submit(t, object{"action": "create", "workdir": dir})
		got := a.cancel(t, queued.ID)
		if got.State != jobs.Canceled || got.Reason != jobs.ReasonCanceled || !got.CancelRequested || got.StartedAt != nil || got.FinishedAt == nil || got.Error == nil {
			t.Errorf("the answer is %+v", got)
		}
		if status, body := a.do(t, "POST", "/jobs/"+queued.ID+"/cancel", nil); status != http.StatusConflict || !strings.Contains(string(body), `"error"`) {
			t.Errorf("a second cancel: %d %s", status, body)
		}
		openGate(t, dir)
		if ended, log := a.finish(t, first.ID); ended.State != jobs.Success || startsOf(log) != 1 {
			t.Errorf("the other job: %s\n%s", ended.State, log)
		}
		// No worker has run it, and none keeps it.
		next, log := a.run(t, jobs.Success, object{"action": "down", "workdir": dir})
		if startsOf(log) != 0 || next.State != jobs.Success {
			t.Errorf("%s\n%s", next.State, log)
		}
		if ended, log := a.finish(t, queued.ID); ended.State != jobs.Canceled || log != "" {
			t.Errorf("%s with the log %q", ended.State, log)
		}
		for _, id := range []string{first.ID, "01a21589-8822-76b0-8e17-688b9da719dc"} {
			want := map[bool]int{true: http.StatusConflict, false: http.StatusNotFound}[id == first.ID]
			if status, body := a.do(t, "POST", "/jobs/"+id+"/cancel", object{}); status != want {
				t.Errorf("cancel of %s: %d %s, want %d", id, status, body, want)
			}
		}
	})
}

// Whatever its programs ignore, a run that is canceled ends with all of them, and the lab can be got out of where it was left.
func TestCancelOfARunningJob(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		a, dir := f.any(), f.lab("stubborn", "linux2")
		// A plugin that leaves a process in a session of its own, which ignores what can be ignored.
		daemon := `import os, signal, subprocess

def init(topology):
  command = ["setsid", "-f", "sh", "-c", "trap '' INT TERM HUP; while :; do sleep 1; done"]
  subprocess.run(command)
`
		if err := os.WriteFile(filepath.Join(dir, "daemon.py"), []byte(daemon), 0o644); err != nil {
			t.Fatal(err)
		}
		f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "deploy", Partial: 1, Ignore: []string{"INT", "TERM"}})
		job := a.submit(t, object{"action": "up", "workdir": dir, "plugin": "daemon"})
		f.standins.Gate("deploy").Await(patience)
		if len(processesOf(job.ID)) < 3 {
			t.Fatalf("processes of the job: %q", processesOf(job.ID))
		}
		began := time.Now()
		if got := a.cancel(t, job.ID); got.State != jobs.Running || !got.CancelRequested {
			t.Errorf("the answer is %s, cancelRequested %v", got.State, got.CancelRequested)
		}
		ended, log := a.finish(t, job.ID)
		if took := time.Since(began); took > stopLimit {
			t.Errorf("took %s", took)
		}
		if ended.State != jobs.Canceled || ended.Reason != jobs.ReasonCanceled || !ended.CancelRequested {
			t.Errorf("%s, reason %q, cancelRequested %v", ended.State, ended.Reason, ended.CancelRequested)
		}
		for _, want := range ofLab(&ended, "starting provider clab", "containers", "destroy") {
			if !strings.Contains(text(ended.Error), want) || !strings.Contains(log, want) {
				t.Errorf("no %q in the error %q or the log:\n%s", want, text(ended.Error), log)
			}
		}
		if left := processesOf(job.ID); len(left) > 0 {
			t.Errorf("left running: %q", left)
		}
		f.standins.SetKnob("containerlab deploy")
		a.run(t, jobs.Success, object{"action": "up", "workdir": dir, "plugin": "daemon"})
		a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
		if left := f.standins.Containers(); len(left) > 0 {
			t.Errorf("containers after destroy: %v", left)
		}
	})
}

// The request is stored: a worker that was away reads it.
func TestCancelWhileTheWorkerIsAway(t *testing.T) {
	t.Parallel()
	f := split(t, forkedRuns)
	a := f.any()
	dir := f.chatter("away", object{"lines": 1, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
	a.awaitLog(t, job.ID, "chatter 1 of ")
	f.workers[0].kill()
	if got := a.cancel(t, job.ID); got.State != jobs.Running || !got.CancelRequested {
		t.Errorf("the answer is %s, cancelRequested %v", got.State, got.CancelRequested)
	}
	js, err := jetstream.New(f.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := js.Stream(ctx, "NETLAB_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(ctx, "netlab.jobs.alpha."+job.ID+".cancel"); err != nil {
		t.Errorf("the request is not stored: %v", err)
	}
	a.cancel(t, job.ID) // once more changes nothing
	f.startWorker("alpha")
	ended, _ := a.finish(t, job.ID)
	if ended.State != jobs.Canceled || ended.Reason != jobs.ReasonCanceled {
		t.Errorf("%s, reason %q, error %s", ended.State, ended.Reason, text(ended.Error))
	}
	if left := processesOf(job.ID); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
}

func TestTimeoutOfALab(t *testing.T) {
	t.Parallel()
	f := single(t)
	a, dir := f.any(), f.lab("late", "linux2")
	f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "deploy", Partial: 2, Ignore: []string{"INT", "TERM"}})
	// So long that the deployment is reached on a slow machine, too.
	job := a.submit(t, object{"action": "up", "workdir": dir, "timeoutSeconds": "45"})
	f.standins.Gate("deploy").Await(patience)
	ended, log := a.finish(t, job.ID)
	if ended.State != jobs.Failed || ended.Reason != jobs.ReasonTimeout || ended.CancelRequested {
		t.Errorf("%s, reason %q", ended.State, ended.Reason)
	}
	for _, want := range append([]string{"timeout of 45s"}, ofLab(&ended, "3 containers (2 running)", "destroy")...) {
		if !strings.Contains(text(ended.Error), want) {
			t.Errorf("no %q in the error %q\n%s", want, text(ended.Error), log)
		}
	}
	if left := processesOf(job.ID); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
	f.standins.SetKnob("containerlab deploy")
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	if left := f.standins.Containers(); len(left) > 0 {
		t.Errorf("containers after destroy: %v", left)
	}
}
