package e2e_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// previousRelease is where the programs of the release before this one are. Where it could not be built the test is skipped.
func previousRelease(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".previous"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".complete")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the programs of the previous release are not there: run scripts/previous-release, which says what it lacks")
	}
	return dir
}

// An upgrade, and the way back: one release starts a job and has another one waiting, the other one brings both to their ends.
// Between the two, each release's API works with the other one's worker.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	previous := previousRelease(t)
	templates := t.TempDir()
	if err := os.WriteFile(filepath.Join(templates, "one.yml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, "NETLAB_API_KEEP=topology.yml", "NETLAB_WORKER_TEMPLATES="+templates)
	f.port = freePort(t)
	f.busURL = "nats://127.0.0.1:" + f.port
	f.startServer()
	var worker *program
	// use has the API and the worker be of these releases, from one to the next without a break but that of their starts.
	use := func(api, ofWorker string) *api {
		t.Helper()
		if worker != nil {
			worker.stop()
			f.any().stop()
		}
		f.release = api
		a := f.startAPI(f.apiEnvironment("api"))
		f.release = ofWorker
		worker = f.workerOf("alpha", "worker")
		a.awaitReady(1)
		var list struct{ Hosts []hosts.Host }
		if a.get(t, "/hosts", &list); (list.Hosts[0].Version == "dev") != (ofWorker == "") {
			t.Errorf("the worker is of release %s", list.Hosts[0].Version)
		}
		return a
	}
	const next = ""

	a := use(previous, previous)
	lab := f.lab("shown", "frr3")
	a.run(t, jobs.Success, object{"action": "up", "workdir": lab})
	for _, step := range []struct{ name, from, to string }{{"upgrade", previous, next}, {"downgrade", next, previous}} {
		if step.from == next {
			use(next, previous)
			f.useEverything(t, lab, "newer-api")
			a = use(next, next)
		}
		dir := f.chatter(step.name, object{"lines": 100, "gate": "gate"})
		environment := object{"LAB_TOKEN": "correct-horse", "NETLAB_TEST_MARK": "shown"}
		running := a.submit(t, object{"action": "create", "workdir": dir, "environment": environment, "timeoutSeconds": 300})
		a.awaitLog(t, running.ID, "chatter 100 of ")
		queued := a.submit(t, object{"action": "create", "workdir": dir, "environment": environment})
		canceled := a.submit(t, object{"action": "down", "workdir": dir})
		a.cancel(t, canceled.ID)
		a = use(step.to, step.to)
		a.await(t, running.ID, "running", func(j *jobs.Job) bool { return j.State == jobs.Running })
		openGate(t, dir)
		for _, id := range []string{running.ID, queued.ID} {
			f.wantOneRun(t, id, jobs.Success)
			if _, kept := a.artifacts(t, id); len(kept) != 1 {
				t.Errorf("%s: kept %q", step.name, kept)
			}
		}
		if ended, log := a.finish(t, canceled.ID); ended.State != jobs.Canceled || log != "" {
			t.Errorf("%s: %s, log %q", step.name, ended.State, log)
		}
		f.awaitEmptyJournal(f.path("worker", "jobs"))
	}
	use(previous, next)
	f.useEverything(t, lab, "newer-worker")
	f.any().run(t, jobs.Success, object{"action": "destroy", "workdir": lab})
}

// useEverything has the API ask its worker each question that there is, with the lab that runs.
func (f *fleet) useEverything(t *testing.T, lab, name string) {
	t.Helper()
	a := f.any()
	job, log := a.run(t, jobs.Success, object{
		"action": "create", "workdir": f.path("labs", name), "topology": "provider: clab\nnodes: { h1: { device: linux } }\n",
		"environment": object{"LAB_TOKEN": "correct-horse"},
	})
	if got := f.busLog(t, job.ID); got != log {
		t.Errorf("%s: the bus has\n%s\nHTTP gives\n%s", name, got, log)
	}
	a.run(t, jobs.Success, object{"action": "status", "workdir": lab})
	out := "O>* 10.0.0.2/32\n"
	f.standins.SetKnob("docker exec", standins.Knob{Match: "show ip route", Stdout: &out})
	if answer := a.ask(t, "/connect", object{"node": "r1", "show": "ip route", "workdir": lab}, http.StatusOK); answer.Log != out {
		t.Errorf("%s: connect: %+v", name, answer)
	}
	if answer := a.ask(t, "/graph", object{"workdir": lab}, http.StatusOK); answer.OutputPath == "" || answer.SVGBase64 == "" {
		t.Errorf("%s: graph: %+v", name, answer)
	}
	var status struct {
		Hosts map[string]struct{ Labs map[string]any }
	}
	if a.get(t, "/status", &status); len(status.Hosts["alpha"].Labs) != 1 {
		t.Errorf("%s: status: %+v", name, status)
	}
	var one, list, labs map[string]any
	a.get(t, "/status/default?host=alpha", &one)
	a.get(t, "/labs", &labs)
	a.get(t, "/templates?dir=&host=alpha", &list)
	for what, got := range map[string]any{"labs": labs["labs"], "templates": list["templates"]} {
		if entries, _ := got.([]any); len(entries) != 1 {
			t.Errorf("%s: %s: %v", name, what, got)
		}
	}
	if len(one) == 0 {
		t.Errorf("%s: the lab's status is empty", name)
	}
	if sizes, _ := a.artifacts(t, job.ID); sizes["clab.yml"] == 0 {
		t.Errorf("%s: artifacts: %v", name, sizes)
	}
	if status, content := a.artifact(t, job.ID, "clab.yml"); status != http.StatusOK || len(content) == 0 {
		t.Errorf("%s: artifact: %d", name, status)
	}
}
