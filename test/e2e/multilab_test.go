package e2e_test

import (
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/labs"
)

// Three multilabs at once, each in its own directory: one with an id, one whose instance is its id, one that takes what is free.
func TestThreeMultilabsAtOnce(t *testing.T) {
	t.Parallel()
	f := single(t, "NETLAB_WORKER_SLOTS=3")
	a := f.any()
	requests := map[string]object{
		"given":    {"multilabId": "7"},
		"instance": {"instance": "8"},
		"free":     {},
	}
	instances, dirs := map[string]string{}, map[string]string{}
	all := func(action string, more object) {
		t.Helper()
		ids := map[string]string{}
		for name, request := range requests {
			payload := object{"action": action, "workdir": dirs[name]}
			for key, value := range more {
				payload[key] = value
			}
			if action == "up" {
				payload["plugin"] = []string{"multilab"}
				for key, value := range request {
					payload[key] = value
				}
			}
			ids[name] = a.submit(t, payload).ID
		}
		for name, id := range ids {
			job, log := a.finish(t, id)
			if job.State != jobs.Success {
				t.Fatalf("%s of %s: %s %s\n%s", action, name, job.State, text(job.Error), log)
			}
			switch action {
			case "up", "restart":
				if instances[name] != "" && job.Instance != instances[name] {
					t.Errorf("%s of %s is %s, was %s", action, name, job.Instance, instances[name])
				}
				instances[name] = job.Instance
			case "status":
				if rows := labs.StatusRows(log); len(rows) != 4 || !strings.Contains(log, "Lab "+instances[name]+" in "+dirs[name]) {
					t.Errorf("status of %s:\n%s", name, log)
				}
			case "collect":
				if !exists(t, dirs[name], "config") {
					t.Errorf("nothing collected of %s", name)
				}
			}
		}
	}
	for name := range requests {
		dirs[name] = f.lab(name, "linux2")
	}
	all("up", nil)
	if instances["given"] != "7" || instances["instance"] != "8" || instances["free"] == "" || instances["free"] == "7" || instances["free"] == "8" {
		t.Errorf("instances %v", instances)
	}
	if n := len(f.standins.Containers()); n != 9 {
		t.Errorf("%d containers, want 9", n)
	}
	all("status", nil)
	all("restart", nil)
	if n, networks := len(f.standins.Containers()), f.standins.Networks(); n != 9 || len(networks) != 3 {
		t.Errorf("%d containers, networks %v after restart", n, networks)
	}

	// The id of one of them is refused to another, which is told whose it is.
	job, _ := a.run(t, jobs.Failed, object{"action": "up", "workdir": f.lab("late", "linux2"), "plugin": "multilab", "multilabId": 7})
	if job.Reason != jobs.ReasonInvalid || !strings.Contains(text(job.Error), dirs["given"]) {
		t.Errorf("reason %q, error %s", job.Reason, text(job.Error))
	}
	// The same lab keeps the id that it has.
	again, _ := a.run(t, jobs.Success, object{"action": "up", "workdir": dirs["free"], "plugin": "multilab"})
	if again.Instance != instances["free"] && again.Instance != "" {
		t.Errorf("the free one is %s, was %s", again.Instance, instances["free"])
	}
	all("collect", nil)
	all("down", object{"cleanup": true})
	if n := len(f.standins.Containers()); n != 0 {
		t.Errorf("%d containers after down", n)
	}
}
