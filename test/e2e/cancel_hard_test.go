package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// A driver that waits for its answer has touched nothing, and is canceled like any other.
func TestCancelWhileTheLabIsDecidedOn(t *testing.T) {
	t.Parallel()
	f := single(t)
	a, dir := f.any(), f.lab("asks", "linux2")
	// The worker looks at the host's containers before it answers. The driver's own look at them has another format.
	f.standins.SetKnob("docker ps", standins.Knob{Match: "ps -a --no-trunc --format json", Gate: "look", Times: 1})
	job := a.submit(t, object{"action": "up", "workdir": dir})
	f.standins.Gate("look").Await(patience)
	// Another one waits behind it for its own turn.
	other := a.submit(t, object{"action": "up", "workdir": f.lab("also", "external")})
	a.await(t, other.ID, "running", running)
	began := time.Now()
	a.cancel(t, job.ID)
	ended, log := a.finish(t, job.ID)
	if took := time.Since(began); took > stopLimit {
		t.Errorf("took %s", took)
	}
	// Docker hangs, for as long as it is waited for: the job does not wait to say what it leaves.
	said := strings.Contains(text(ended.Error), "cannot be told") || strings.Contains(text(ended.Error), "no lab in "+dir)
	if ended.State != jobs.Canceled || ended.Reason != jobs.ReasonCanceled || !said {
		t.Errorf("%s, reason %q, error %s\n%s", ended.State, ended.Reason, text(ended.Error), log)
	}
	if left := processesOf(job.ID); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v %v", entries, err)
	}
	if ended, log := a.finish(t, other.ID); ended.State != jobs.Success {
		t.Errorf("the other one: %s %s\n%s", ended.State, text(ended.Error), log)
	}
	// What it would have taken is free again.
	a.run(t, jobs.Success, object{"action": "up", "workdir": f.lab("next", "linux2")})
	f.awaitEmptyJournal(f.path("data", "worker", "jobs"))
}

// Processes that have shed every sign of their job, and one that begins new ones faster than they are looked for.
func TestCancelOfWhatHides(t *testing.T) {
	t.Parallel()
	f := single(t)
	a, dir := f.any(), f.lab("hides", "external")
	mark := "hides-" + filepath.Base(f.dir) + "-" + filepath.Base(filepath.Dir(f.dir))
	// All of them end with the test's folder, should the product not end them.
	plugin := `import os, signal, subprocess, time

def init(topology):
  quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
  subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", "setsid", "-f", "sh", "-c", "trap '' INT TERM HUP; : MARK; while [ -d DIR ]; do sleep 1; done"], **quiet)
  subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", "setsid", "-f", "sh", "-c", "trap '' INT TERM HUP; while [ -d DIR ]; do setsid -f sh -c ': MARK; sleep 100; :'; sleep 0.02; done; : MARK"], **quiet)
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  while os.path.isdir('DIR'):
    time.sleep(1)
`
	if err := os.WriteFile(filepath.Join(dir, "hides.py"), []byte(strings.NewReplacer("MARK", mark, "DIR", dir).Replace(plugin)), 0o644); err != nil {
		t.Fatal(err)
	}
	job := a.submit(t, object{"action": "create", "workdir": dir, "plugin": "hides"})
	for end := time.Now().Add(patience); len(processesWith(t, mark)) < 5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			var j jobs.Job
			a.get(t, "/jobs/"+job.ID, &j)
			t.Fatalf("processes: %q, job %+v", processesWith(t, mark), j)
		}
	}
	began := time.Now()
	a.cancel(t, job.ID)
	ended, log := a.finish(t, job.ID)
	if took := time.Since(began); took > stopLimit {
		t.Errorf("took %s", took)
	}
	if ended.State != jobs.Canceled || ended.Reason != jobs.ReasonCanceled {
		t.Errorf("%s, reason %q, error %s\n%s", ended.State, ended.Reason, text(ended.Error), log)
	}
	if left := processesWith(t, mark); len(left) > 0 {
		t.Errorf("left running: %d, %q", len(left), left[:min(3, len(left))])
	}
}
