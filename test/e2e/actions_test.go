package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/labs"
	"netlab-runner/test/standins"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		dir := f.lab("create", "frr3")
		job, log := f.any().run(t, jobs.Success, object{"action": "create", "workdir": dir})
		if job.ExitCode == nil || *job.ExitCode != 0 || job.Error != nil || job.Reason != "" {
			t.Errorf("exit code %v, error %s, reason %q", job.ExitCode, text(job.Error), job.Reason)
		}
		for _, want := range []string{"netlab-worker: create in " + dir, "Created provider configuration file: clab.yml"} {
			if !strings.Contains(log, want) {
				t.Errorf("no %q in the log:\n%s", want, log)
			}
		}
		for _, file := range []string{"clab.yml", "hosts.yml", "ansible.cfg", "netlab.snapshot.pickle", "netlab.snapshot.yml"} {
			if !exists(t, dir, file) {
				t.Errorf("no %s", file)
			}
		}
		var snapshot struct{ Nodes map[string]any }
		content, err := os.ReadFile(filepath.Join(dir, "netlab.snapshot.yml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(content, &snapshot); err != nil || len(snapshot.Nodes) != 3 {
			t.Errorf("snapshot: %d nodes, %v", len(snapshot.Nodes), err)
		}
	})
}

func TestCreateInlineTopologyInANewDirectory(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		topology, err := os.ReadFile("../labs/frr3/topology.yml")
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(f.root, "deep", "er")
		job, _ := f.any().run(t, jobs.Success, object{"action": "create", "workspaceRoot": f.root, "workspace": "deep", "deployment": "er", "topology": string(topology)})
		if job.Workdir != dir || !exists(t, dir, "clab.yml") {
			t.Errorf("workdir %s, clab.yml there: %v", job.Workdir, exists(t, dir, "clab.yml"))
		}
		if job.Request.Topology == nil || job.Request.Topology.Bytes != len(topology) {
			t.Errorf("request shows the topology as %+v", job.Request.Topology)
		}
	})
}

func TestNetlabsErrorIsTheJobsError(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		job, log := f.any().run(t, jobs.Failed, object{"action": "create", "workdir": f.lab("broken", "broken")})
		if job.Reason != jobs.ReasonNetlabFailed || job.ExitCode == nil || *job.ExitCode != 1 {
			t.Errorf("reason %q, exit code %v", job.Reason, job.ExitCode)
		}
		for _, node := range []string{"r8", "r9"} {
			if !strings.Contains(text(job.Error), node) || !strings.Contains(log, node) {
				t.Errorf("%s not named in the error %q or the log:\n%s", node, text(job.Error), log)
			}
		}
	})
}

func TestExternalLab(t *testing.T) {
	t.Parallel()
	f := single(t)
	dir, a := f.lab("ext", "external"), f.any()
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
	if !exists(t, dir, "netlab.lock") {
		t.Error("no lock after up")
	}
	_, log := a.run(t, jobs.Success, object{"action": "status", "workdir": dir})
	if rows := labs.StatusRows(log); len(rows) != 3 || rows[1][0] != "r1" || rows[2][0] != "r2" {
		t.Errorf("status:\n%s", log)
	}
	a.run(t, jobs.Success, object{"action": "restart", "workdir": dir})
	a.run(t, jobs.Success, object{"action": "down", "workdir": dir})
	if exists(t, dir, "netlab.lock") {
		t.Error("lock after down")
	}
}

// What is not there is not made, but by what starts a lab.
func TestNoDirectory(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := filepath.Join(f.root, "none", "lab")
	for _, action := range []string{"down", "destroy"} {
		if _, log := a.run(t, jobs.Success, object{"action": action, "workdir": dir}); !strings.Contains(log, "not found") {
			t.Errorf("%s:\n%s", action, log)
		}
	}
	if _, log := a.run(t, jobs.Success, object{"action": "status", "workdir": dir}); !strings.Contains(log, "No netlab-managed labs") {
		t.Errorf("status:\n%s", log)
	}
	if job, _ := a.run(t, jobs.Failed, object{"action": "collect", "workdir": dir}); job.Reason != jobs.ReasonInvalid {
		t.Errorf("collect: reason %q", job.Reason)
	}
	if exists(t, f.root, "none") {
		t.Error("the directory was made")
	}
}

// stateRoot moves the status file, for every action alike, and may be a root itself.
func TestStateRoot(t *testing.T) {
	t.Parallel()
	f := single(t)
	a, dir := f.any(), f.lab("ext", "external")
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir, "stateRoot": f.root})
	if !exists(t, f.root, "status.yaml") || exists(t, f.path("home"), ".netlab", "status.yaml") {
		t.Error("the status file is not in stateRoot")
	}
	if _, log := a.run(t, jobs.Success, object{"action": "status", "workdir": dir, "stateRoot": f.root}); len(labs.StatusRows(log)) != 3 {
		t.Errorf("status:\n%s", log)
	}
	a.run(t, jobs.Success, object{"action": "down", "workdir": dir, "stateRoot": f.root})
}

func TestContainerLab(t *testing.T) {
	t.Parallel()
	f := split(t)
	dir, a := f.lab("clab", "linux2"), f.any()
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
	if n := len(f.standins.Containers()); n != 3 {
		t.Errorf("%d containers after up, want 3", n)
	}

	_, log := a.run(t, jobs.Success, object{"action": "status", "workdir": dir})
	rows := labs.StatusRows(log)
	if len(rows) != 4 {
		t.Fatalf("status:\n%s", log)
	}
	// What clients read by position.
	for i, want := range []string{"node", "device", "provider", "status", "image", "mgmt IPv4"} {
		if rows[0][i] != want {
			t.Errorf("column %d is %q, want %q", i, rows[0][i], want)
		}
	}
	for _, row := range rows[1:] {
		if row[2] != "clab" || !strings.HasPrefix(row[5], "192.168.121.") {
			t.Errorf("row %q", row)
		}
	}

	// One that fails leaves its directory, and does not stand in the way of the next.
	f.standins.SetKnob("docker exec", standins.Knob{Fail: 1})
	if job, _ := a.run(t, jobs.Failed, object{"action": "collect", "workdir": dir, "collectOutput": "saved"}); job.Reason != jobs.ReasonNetlabFailed {
		t.Errorf("collect from nodes that are down: %q", job.Reason)
	}
	f.standins.SetKnob("docker exec")
	a.run(t, jobs.Success, object{"action": "collect", "workdir": dir, "collectOutput": "saved", "collectTar": "saved.tar.gz"})
	if !exists(t, dir, "saved.tar.gz") || !exists(t, dir, "saved") {
		t.Error("nothing collected")
	}
	a.run(t, jobs.Success, object{"action": "collect", "workdir": dir, "collectOutput": "saved"})
	job, _ := a.run(t, jobs.Failed, object{"action": "collect", "workdir": dir, "collectOutput": "node_files"})
	if job.Reason != jobs.ReasonInvalid || !exists(t, dir, "node_files") {
		t.Errorf("collect into a directory of Netlab's: %q", job.Reason)
	}

	a.run(t, jobs.Success, object{"action": "restart", "workdir": dir})
	if n := len(f.standins.Containers()); n != 3 {
		t.Errorf("%d containers after restart, want 3", n)
	}
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	if left := f.standins.Containers(); len(left) > 0 {
		t.Errorf("containers after destroy: %v", left)
	}
	for _, file := range []string{"clab.yml", "netlab.lock", "netlab.snapshot.pickle", "hosts.yml"} {
		if exists(t, dir, file) {
			t.Errorf("%s after destroy", file)
		}
	}
	_, log = a.run(t, jobs.Success, object{"action": "down", "workdir": dir})
	if !strings.Contains(log, "not found") {
		t.Errorf("down of nothing:\n%s", log)
	}
}
