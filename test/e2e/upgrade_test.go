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

// previousRelease is where the programs of the release before this one are. Where nobody has built them a test by itself is skipped;
// `make test` has to have built them, unless the checkout does not have that release.
func previousRelease(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".previous"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".complete")); errors.Is(err, fs.ErrNotExist) {
		const missing = "the programs of the previous release are not there: run scripts/previous-release, which says what it lacks"
		if os.Getenv("NETLAB_TEST_PREVIOUS") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return dir
}

// An upgrade, and the way back: one release starts a job, has another one waiting, has a third between its two commands and cancels a
// fourth, and the other one brings all to their ends. Between the two, each release's API works with the other one's worker.
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
	// use has the API and the worker be of these releases, from one to the next without a break but that of their starts, and of what
	// happens meanwhile.
	use := func(api, ofWorker string, meanwhile ...func()) *api {
		t.Helper()
		if worker != nil {
			worker.stop()
			f.any().stop()
		}
		for _, happens := range meanwhile {
			happens()
		}
		f.release = api
		a := f.startAPI(f.apiEnvironment("api"))
		f.release = ofWorker
		worker = f.workerOf("alpha", "worker", "NETLAB_WORKER_SLOTS=3")
		a.awaitReady(1)
		// The lease of the worker before may be there for a moment.
		a.awaitHosts(t, func(list []hosts.Host) bool { return list[0].Online && (list[0].Version == "dev") == (ofWorker == "") })
		return a
	}
	const next = ""

	a := use(previous, previous)
	lab := f.lab("shown", "frr3")
	a.run(t, jobs.Success, object{"action": "up", "workdir": lab})
	two := f.lab("two", "linux2")
	multilab := object{"action": "up", "workdir": two, "plugin": "multilab", "multilabId": 2}
	a.run(t, jobs.Success, multilab)
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
		down, up := f.standins.Gate(step.name+"-down"), f.standins.Gate(step.name+"-up")
		f.standins.SetKnob("containerlab destroy", standins.Knob{Gate: step.name + "-down"})
		f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: step.name + "-up"})
		deploys := len(f.standins.Calls("containerlab deploy"))
		multilab["action"] = "restart"
		between := a.submit(t, multilab)
		down.Await(patience)
		// It takes so long to be stopped that the next release has to do it.
		stopped := a.submit(t, object{"action": "create", "workdir": f.chatter(step.name+"-stopped", object{
			"lines": 1, "ignore": []string{"INT"}, "gate": "gate",
		})})
		a.awaitLog(t, stopped.ID, "chatter 1 of ")
		a.cancel(t, stopped.ID)
		a.awaitLog(t, stopped.ID, "canceled: the run is stopped")
		a = use(step.to, step.to, func() {
			down.Open()
			up.Await(patience)
		})
		up.Open()
		a.await(t, running.ID, "running", func(j *jobs.Job) bool { return j.State == jobs.Running })
		openGate(t, dir)
		for _, id := range []string{running.ID, queued.ID} {
			f.wantOneRun(t, id, jobs.Success)
			if _, kept := a.artifacts(t, id); len(kept) != 1 {
				t.Errorf("%s: kept %q", step.name, kept)
			}
		}
		f.wantOneRun(t, stopped.ID, jobs.Canceled)
		if ended, log := a.finish(t, between.ID); ended.State != jobs.Success || f.busLog(t, between.ID) != log {
			t.Errorf("%s: between two commands: %s %s, the log on the bus is the same: %t\n%s", step.name, ended.State, text(ended.Error), f.busLog(t, between.ID) == log, log)
		}
		checkHistory(t, f.history(between.ID))
		if n := len(f.standins.Calls("containerlab deploy")); n != deploys+1 {
			t.Errorf("%s: between two commands: started %d times", step.name, n-deploys)
		}
		f.standins.SetKnob("containerlab destroy")
		f.standins.SetKnob("containerlab deploy")
		if ended, log := a.finish(t, canceled.ID); ended.State != jobs.Canceled || log != "" {
			t.Errorf("%s: %s, log %q", step.name, ended.State, log)
		}
		f.awaitEmptyJournal(f.path("worker", "jobs"))
	}
	use(previous, next)
	f.useEverything(t, lab, "newer-worker")
	for _, dir := range []string{lab, two} {
		f.any().run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	}
}

// useEverything has the API ask its worker each question that there is, with two labs that run, one of them in that directory.
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
	if a.getInTime(t, "/status", &status); len(status.Hosts["alpha"].Labs) != 2 {
		t.Errorf("%s: status: %+v", name, status)
	}
	var one, list, labs map[string]any
	a.get(t, "/status/default?host=alpha", &one)
	a.getInTime(t, "/labs", &labs)
	a.get(t, "/templates?dir=&host=alpha", &list)
	if running, _ := labs["labs"].([]any); len(running) != 2 {
		t.Errorf("%s: labs: %v", name, running)
	}
	if templates, _ := list["templates"].([]any); len(templates) != 1 {
		t.Errorf("%s: templates: %v", name, templates)
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
