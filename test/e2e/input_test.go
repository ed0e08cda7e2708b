package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		tests := []struct {
			name, method, path string
			body               any
			status             int
			names              []string
		}{
			{"array", "POST", "/jobs", `[1]`, 400, []string{"object"}},
			{"no JSON", "POST", "/jobs", `{"action":`, 400, nil},
			{"empty", "POST", "/jobs", ``, 400, nil},
			{"unknown action", "POST", "/jobs", object{"action": "explode", "workdir": f.root + "/x"}, 400, []string{"action", "create", "destroy"}},
			{"wrong type", "POST", "/jobs", object{"workdir": 7, "cleanup": object{}}, 400, []string{"workdir", "cleanup"}},
			{"outside the roots", "POST", "/jobs", object{"workdir": "/etc/netlab"}, 400, []string{"workdir", f.root}},
			{"dots", "POST", "/jobs", object{"workdir": f.root + "/../x"}, 400, []string{"workdir"}},
			{"all at once", "POST", "/jobs", object{"action": "x", "workdir": "rel", "timeoutSeconds": "soon", "host": "a b"}, 400, []string{"action", "workdir", "timeoutSeconds", "host"}},
			{"unknown host", "POST", "/jobs", object{"workdir": f.root + "/x", "host": "nowhere"}, 400, []string{"host", "alpha"}},
			{"refused variable", "POST", "/jobs", object{"workdir": f.root + "/x", "environment": object{"LD_PRELOAD": "x"}}, 400, []string{"environment", "LD_PRELOAD"}},
			{"unknown job", "GET", "/jobs/none", nil, 404, []string{"Job none not found"}},
			{"unknown log", "GET", "/jobs/none/log", nil, 404, []string{"Job none not found"}},
			{"unknown route", "GET", "/nothing", nil, 404, []string{"not found"}},
			{"method", "DELETE", "/jobs", nil, 405, nil},
			{"state", "GET", "/jobs?state=odd", nil, 400, []string{"state", "queued"}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				status, body := f.any().do(t, test.method, test.path, test.body)
				var answer struct{ Error string }
				if err := json.Unmarshal(body, &answer); err != nil || status != test.status || answer.Error == "" {
					t.Fatalf("%d %s, want %d and an error", status, body, test.status)
				}
				for _, name := range test.names {
					if !strings.Contains(answer.Error, name) {
						t.Errorf("%q does not name %q", answer.Error, name)
					}
				}
			})
		}
		var list struct{ Jobs []jobs.Job }
		f.any().get(t, "/jobs", &list)
		if len(list.Jobs) != 0 {
			t.Errorf("%d jobs were accepted", len(list.Jobs))
		}
	})
}

// What only the host can know ends the job, before Netlab starts.
func TestInvalidOnTheHost(t *testing.T) {
	t.Parallel()
	f := single(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(f.root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	leak := f.lab("leak", "frr3")
	if err := os.Symlink("/etc/passwd", filepath.Join(leak, "t.yml")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		payload object
		names   []string
	}{
		{"no topology", object{"action": "create", "workdir": f.root + "/empty"}, []string{"topologyPath", "topology.yml"}},
		{"topologyPath missing", object{"action": "create", "workdir": f.root + "/empty", "topologyPath": "a.yml"}, []string{"topologyPath", "a.yml"}},
		{"topologyPath leads out", object{"action": "create", "workdir": leak, "topologyPath": "t.yml"}, []string{"topologyPath"}},
		{"symlink out of the roots", object{"action": "create", "workdir": f.root + "/link/lab"}, []string{"workdir", outside}},
		{"no directory", object{"action": "create", "workdir": f.root + "/mistyped"}, []string{"topologyPath", "mistyped"}},
		{"a file", object{"action": "create", "workdir": f.root + "/file"}, []string{"workdir"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			job, log := f.any().run(t, jobs.Failed, test.payload)
			if job.Reason != jobs.ReasonInvalid {
				t.Errorf("reason %q", job.Reason)
			}
			for _, name := range test.names {
				if !strings.Contains(text(job.Error), name) || !strings.Contains(log, name) {
					t.Errorf("error %q or log %q does not name %q", text(job.Error), log, name)
				}
			}
		})
	}
	if exists(t, f.root, "mistyped") {
		t.Error("a directory was made for a job that could not run")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside the roots: %v %v", left, err)
	}
}

func TestStatusOfTheFleet(t *testing.T) {
	t.Parallel()
	t.Run("default host", func(t *testing.T) {
		t.Parallel()
		f := single(t)
		a := f.any()
		if status, body := a.do(t, "GET", "/status", nil); status != http.StatusNotFound || strings.TrimSpace(string(body)) != `{"warning":"No netlab-managed labs"}` {
			t.Errorf("no labs: %d %s", status, body)
		}
		dir := f.lab("ext", "external")
		a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
		var labs map[string]struct{ Dir string }
		a.get(t, "/status", &labs)
		var instance string
		for id, lab := range labs {
			if instance = id; lab.Dir != dir {
				t.Errorf("lab %s in %s", id, lab.Dir)
			}
		}
		var lab struct{ Nodes map[string]any }
		a.get(t, "/status/"+instance, &lab)
		if len(lab.Nodes) != 2 {
			t.Errorf("nodes %v", lab.Nodes)
		}
		if status, body := a.do(t, "GET", "/status/77", nil); status != http.StatusNotFound || !strings.Contains(string(body), "Unknown lab instance") {
			t.Errorf("unknown instance: %d %s", status, body)
		}
		var table struct{ Status string }
		a.get(t, "/status?output=text", &table)
		if !strings.Contains(table.Status, dir) {
			t.Errorf("text: %s", table.Status)
		}
	})
	t.Run("by host", func(t *testing.T) {
		t.Parallel()
		f := split(t)
		var fleet struct{ Hosts map[string]map[string]any }
		f.workers[2].stop()
		f.any().getInTime(t, "/status", &fleet)
		if len(fleet.Hosts) != 3 || fleet.Hosts["alpha"]["labs"] == nil || fleet.Hosts["gamma"]["error"] == nil {
			t.Errorf("%v", fleet.Hosts)
		}
	})
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	templates := t.TempDir()
	for _, name := range []string{"sub/b.yml", "sub/a.yaml", "sub/c.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(templates, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(templates, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := single(t, "NETLAB_WORKER_TEMPLATES="+templates)
	status, body := f.any().do(t, "GET", "/templates?dir=sub", nil)
	if want := `{"templates":[{"name":"a.yaml","path":"a.yaml"},{"name":"b.yml","path":"b.yml"}]}`; status != http.StatusOK || strings.TrimSpace(string(body)) != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	for _, dir := range []string{"../..", "/etc", "sub/../.."} {
		if status, body := f.any().do(t, "GET", "/templates?dir="+dir, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", dir, status, body)
		}
	}
}
