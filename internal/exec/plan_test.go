package exec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	lab := exec.Lab{Topology: "topology.yml"}
	multilab := []string{"--plugin=multilab", "-s", "defaults.multilab.id=7"}
	for name, c := range map[string]struct {
		req  jobs.Request
		lab  exec.Lab
		want exec.Command // without a name: an error
	}{
		"create": {
			jobs.Request{Action: jobs.Create, Plugin: []string{"a", "multilab"}, MultilabID: "7"},
			lab,
			exec.Command{
				Name: "create", Args: []string{"--plugin=a", "--plugin=multilab", "-s", "defaults.multilab.id=7"}, Topology: "topology.yml",
			},
		},
		"up":                    {jobs.Request{Action: jobs.Up}, lab, exec.Command{Name: "up", Topology: "topology.yml"}},
		"up with an id only":    {jobs.Request{Action: jobs.Up, MultilabID: "7"}, lab, exec.Command{Name: "up", Args: multilab, Topology: "topology.yml"}},
		"up with an id to take": {jobs.Request{Action: jobs.Up}, exec.Lab{Topology: "t.yml", FreeID: "7"}, exec.Command{Name: "up", Topology: "t.yml", FreeID: "7"}},
		"validate":              {jobs.Request{Action: jobs.Validate, MultilabID: "7"}, lab, exec.Command{Name: "validate", Args: multilab, Topology: "topology.yml"}},
		"topology from the net": {jobs.Request{Action: jobs.Up}, exec.Lab{Topology: "http://192.0.2.1/x"}, exec.Command{}},
		"no topology":           {jobs.Request{Action: jobs.Create}, exec.Lab{}, exec.Command{}},
		"down":                  {jobs.Request{Action: jobs.Down}, exec.Lab{}, exec.Command{Name: "down"}},
		"down with cleanup":     {jobs.Request{Action: jobs.Down, Cleanup: true}, exec.Lab{}, exec.Command{Name: "down", Args: []string{"--cleanup"}}},
		"destroy":               {jobs.Request{Action: jobs.Destroy, Instance: "7"}, exec.Lab{}, exec.Command{Name: "destroy", Instance: "7"}},
		"restart": {
			jobs.Request{Action: jobs.Restart, MultilabID: "7"},
			lab,
			exec.Command{Name: "restart", Args: multilab, Topology: "topology.yml"},
		},
		"restart as it was": {jobs.Request{Action: jobs.Restart}, exec.Lab{}, exec.Command{Name: "restart"}},
		"collect":           {jobs.Request{Action: jobs.Collect}, exec.Lab{}, exec.Command{Name: "collect", Args: []string{"--output=config"}}},
		"collect all": {
			jobs.Request{Action: jobs.Collect, CollectOutput: "o", CollectTar: "t.tar.gz", CollectCleanup: true},
			exec.Lab{},
			exec.Command{Name: "collect", Args: []string{"--output=o", "--tar=t.tar.gz", "--cleanup"}},
		},
		"collect into a .tgz": {jobs.Request{Action: jobs.Collect, CollectTar: "t.tgz"}, exec.Lab{}, exec.Command{Name: "collect", Args: []string{"--output=config", "--tar=t.tgz"}}},
		"collect into a name": {jobs.Request{Action: jobs.Collect, CollectTar: "t"}, exec.Lab{}, exec.Command{Name: "collect", Args: []string{"--output=config", "--tar=t.tar.gz"}}},
		"status":              {jobs.Request{Action: jobs.Status}, exec.Lab{}, exec.Command{Name: "status"}},
		"status of instance":  {jobs.Request{Action: jobs.Status, Instance: "7"}, exec.Lab{}, exec.Command{Name: "status", Args: []string{"7"}}},
		"unknown":             {jobs.Request{Action: "dance"}, lab, exec.Command{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := exec.Plan(c.req, c.lab)
			var want []exec.Command
			if c.want.Name != "" {
				want = []exec.Command{c.want}
			}
			if (err != nil) != (want == nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, action := range jobs.Actions {
		if _, err := exec.Plan(jobs.Request{Action: action}, lab); err != nil {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	n := &exec.Netlab{Python: "/venv/bin/python", Script: "/home/ada/.local/bin/netlab"}
	got := n.Environment(exec.Surroundings{
		User: "ada", Home: "/home/ada", Workdir: "/srv/lab", Path: "/opt/bin:/bin",
		Extra: map[string]string{"NETLAB_DEVICE": "frr", "TERM": "vt100"},
	})
	want := []string{
		"ANSIBLE_NOCOLOR=1", "CLAB_VERSION_CHECK=disable", "COLUMNS=200", "HOME=/home/ada", "LANG=C.UTF-8", "LOGNAME=ada",
		"NETLAB_DEVICE=frr", "NO_COLOR=1", "PATH=/venv/bin:/home/ada/.local/bin:/opt/bin:/bin", "PWD=/srv/lab",
		"PYTHONIOENCODING=utf-8:surrogateescape", "PYTHONUNBUFFERED=1", "TERM=vt100", "USER=ada",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
