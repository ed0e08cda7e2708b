package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
)

// await polls a job until it is as wanted.
func (a *api) await(t *testing.T, id, what string, ok func(*jobs.Job) bool) jobs.Job {
	t.Helper()
	var job jobs.Job
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		job = jobs.Job{}
		a.get(t, "/jobs/"+id, &job)
		if ok(&job) {
			return job
		}
	}
	t.Fatalf("job never %s: %+v", what, job)
	return job
}

func running(j *jobs.Job) bool { return j.State == jobs.Running }

func TestJobsOfOneDirectoryRunInOrder(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.chatter("one", object{"gate": "gate"})
	first := a.submit(t, object{"action": "create", "workdir": dir})
	a.await(t, first.ID, "running", running)
	second := a.submit(t, object{"action": "create", "workdir": dir})
	third := a.submit(t, object{"action": "down", "workdir": dir})

	// A status job waits behind nothing, another directory only for a slot.
	a.run(t, jobs.Success, object{"action": "status", "workdir": dir})
	other := f.chatter("other", object{})
	a.run(t, jobs.Success, object{"action": "create", "workdir": other, "host": first.Host})

	for position, id := range []string{second.ID, third.ID} {
		var job jobs.Job
		a.get(t, "/jobs/"+id, &job)
		if job.State != jobs.Queued || job.Waiting == nil || job.Waiting.For != "job" || job.Waiting.Job == "" || job.Waiting.Position != position+1 {
			t.Errorf("job %d is %s and waits for %+v", position+2, job.State, job.Waiting)
		}
	}
	openGate(t, dir)
	var ended [3]jobs.Job
	for i, id := range []string{first.ID, second.ID, third.ID} {
		ended[i], _ = a.finish(t, id)
		if ended[i].State != jobs.Success {
			t.Errorf("job %d: %s %s", i+1, ended[i].State, text(ended[i].Error))
		}
		if i > 0 && ended[i].StartedAt.Before(*ended[i-1].FinishedAt) {
			t.Errorf("job %d started at %s, before job %d ended at %s", i+1, ended[i].StartedAt, i, ended[i-1].FinishedAt)
		}
	}
}

// A symlink that is turned while a job waits does not let two changing jobs into one directory.
func TestASymlinkIsTurned(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	one, two := f.chatter("one", object{"gate": "gate"}), f.chatter("two", object{"gate": "gate"})
	link := filepath.Join(f.root, "link")
	if err := os.Symlink(two, link); err != nil {
		t.Fatal(err)
	}
	first := a.submit(t, object{"action": "create", "workdir": two})
	second := a.submit(t, object{"action": "create", "workdir": one})
	behind := a.submit(t, object{"action": "create", "workdir": link})
	a.await(t, first.ID, "running", running)
	a.await(t, second.ID, "running", running)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	// Its directory is free now, but it is another one, and that is not.
	openGate(t, two)
	a.finish(t, first.ID)
	third := f.chatter("three", object{})
	a.run(t, jobs.Success, object{"action": "create", "workdir": third})
	var job jobs.Job
	if a.get(t, "/jobs/"+behind.ID, &job); job.State != jobs.Queued {
		t.Errorf("behind a job of its directory it is %s", job.State)
	}
	openGate(t, one)
	before, _ := a.finish(t, second.ID)
	after, _ := a.finish(t, behind.ID)
	if after.State != jobs.Success || after.StartedAt.Before(*before.FinishedAt) {
		t.Errorf("%s, started %s, the one before ended %s", after.State, after.StartedAt, before.FinishedAt)
	}
}

func TestSlotsBoundTheJobsOfAHost(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	var dirs, ids []string
	for _, name := range []string{"a", "b", "c"} {
		dir := f.chatter(name, object{"gate": "gate"})
		dirs = append(dirs, dir)
		ids = append(ids, a.submit(t, object{"action": "create", "workdir": dir}).ID)
	}
	a.await(t, ids[0], "running", running)
	a.await(t, ids[1], "running", running)
	third := a.await(t, ids[2], "known", func(*jobs.Job) bool { return true })
	if third.State != jobs.Queued || third.Waiting == nil || third.Waiting.For != "slot" {
		t.Errorf("with two slots the third job is %s and waits for %+v", third.State, third.Waiting)
	}
	openGate(t, dirs[0])
	a.await(t, ids[2], "running", running)
	openGate(t, dirs[1])
	openGate(t, dirs[2])
	for _, id := range ids {
		if job, _ := a.finish(t, id); job.State != jobs.Success {
			t.Errorf("%s %s", job.State, text(job.Error))
		}
	}
}

// Jobs of one directory go to the host that has it, whichever API takes them.
func TestADirectoryStaysOnItsHost(t *testing.T) {
	t.Parallel()
	f := split(t)
	for _, name := range []string{"p", "q"} {
		dir := f.lab(name, "frr3")
		first, _ := f.apis[0].run(t, jobs.Success, object{"action": "create", "workdir": dir, "labels": object{"name": "gamma"}})
		second, _ := f.apis[1].run(t, jobs.Success, object{"action": "down", "workdir": dir})
		if first.Host != "gamma" || second.Host != first.Host {
			t.Errorf("hosts %s and %s", first.Host, second.Host)
		}
	}
}
