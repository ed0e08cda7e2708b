// Tests that the real Netlab works with the stand-ins. With NETLAB_TEST_REAL=1 those of a whole life of a lab use the
// machine's containerlab and Docker instead.
package standins_test

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"netlab-runner/test/standins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLifeOfALab(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sample     string
		containers []string
		bridge     string
		// collected are a file that collect makes and a line of it.
		collected, line string
	}{
		{
			sample:     "frr3",
			containers: []string{"clab-tryfrr3-r1", "clab-tryfrr3-r2", "clab-tryfrr3-r3"},
			collected:  "r2.cfg", line: "router ospf\n",
		},
		{
			sample:     "linux2",
			containers: []string{"clab-trylinux2-h1", "clab-trylinux2-h2", "clab-trylinux2-r1"},
			bridge:     "trylinux2_1",
			collected:  "r1.cfg", line: "hostname r1\n",
		},
	}
	for _, test := range tests {
		t.Run(test.sample, func(t *testing.T) {
			b := setupEither(t)
			b.needDockerConnection()
			folder := "try" + test.sample
			dir := b.lab(test.sample, folder)
			t.Cleanup(func() { b.run(dir, "netlab", "down", "--force") })

			b.mustRun(dir, "netlab", "up")
			if status := b.read(b.home, ".netlab", "status.yaml"); !strings.Contains(status, "status: started\n") {
				t.Errorf("after up the status file says:\n%s", status)
			}
			if got := b.containers(dir); !cmp.Equal(got, test.containers) {
				t.Errorf("containers after up: %v, want %v", got, test.containers)
			}
			if test.bridge != "" && b.run(dir, "brctl", "show", test.bridge).code != 0 {
				t.Errorf("no bridge %s after up", test.bridge)
			}
			status := b.mustRun(dir, "netlab", "status")
			if got := strings.Count(status, " Up "); got != len(test.containers) {
				t.Errorf("netlab status shows %d nodes that are up, want %d:\n%s", got, len(test.containers), status)
			}

			b.mustRun(dir, "netlab", "collect")
			if text := b.read(dir, "config", test.collected); !strings.Contains(text, test.line) {
				t.Errorf("collected %s lacks %q:\n%s", test.collected, test.line, text)
			}

			b.mustRun(dir, "netlab", "down", "--cleanup")
			if got := b.containers(dir); len(got) != 0 {
				t.Errorf("containers after down: %v", got)
			}
			if test.bridge != "" && b.run(dir, "brctl", "show", test.bridge).code == 0 {
				t.Errorf("bridge %s is still there after down", test.bridge)
			}
			for _, name := range []string{"netlab.lock", "netlab.snapshot.pickle", "clab.yml", "config"} {
				if exists(dir, name) {
					t.Errorf("%s is still there after down --cleanup", name)
				}
			}
			if b.host != nil {
				b.checkEmptyHost()
			}
		})
	}
}

// needDockerConnection ends the test where Ansible lacks the plugin that collect uses.
func (b *bench) needDockerConnection() {
	b.t.Helper()
	python := filepath.Join(filepath.Dir(b.netlab), "python")
	script := "import importlib.util as u, sys; sys.exit(u.find_spec('ansible_collections.community.docker') is None)"
	if b.run(b.t.TempDir(), python, "-c", script).code != 0 {
		b.t.Fatalf("%s has no collection community.docker, which `netlab collect` needs: install the package ansible, "+
			"ansible-core alone lacks it", python)
	}
}

// containers asks Docker for the sample labs' containers.
func (b *bench) containers(dir string) []string {
	b.t.Helper()
	names := strings.Fields(b.mustRun(dir, "docker", "ps", "-a", "--filter", "name=clab-try", "--format", "{{.Names}}"))
	slices.Sort(names)
	return names
}

func (b *bench) checkEmptyHost() {
	b.t.Helper()
	if c, br, n := b.host.Containers(), b.host.Bridges(), b.host.Networks(); len(c)+len(br)+len(n) != 0 {
		b.t.Errorf("left on the host: containers %v, bridges %v, networks %v", c, br, n)
	}
}

// states are the containers' states by node.
func (b *bench) states() map[string]string {
	b.t.Helper()
	states := map[string]string{}
	for _, c := range b.host.Containers() {
		states[c.Node] = c.State
	}
	return states
}

func TestNodesAreConfigured(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustRun(b.lab("linux2", "linux2"), "netlab", "up")
	got := map[string][]string{}
	for _, c := range b.host.Containers() {
		got[c.Node] = c.Configured
	}
	want := map[string][]string{
		"h1": {"initial", "routing"},
		"h2": {"initial", "routing"},
		"r1": {"/etc/config/01-initial.sh"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if bridge, ok := b.host.Bridge("linux2_1"); !ok || !bridge.Up || bridge.GroupFwdMask != "65528" {
		t.Errorf("bridge linux2_1: %+v, %v", bridge, ok)
	}
	if calls := b.host.Calls("containerlab deploy"); len(calls) != 1 || calls[0].Env["USER"] != b.user {
		t.Errorf("deployments: %+v, want one by %s", calls, b.user)
	}
}

func TestFailedDeploymentKeepsTheLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.lab("frr3", "frr3")
	b.host.SetKnob("containerlab deploy", standins.Knob{Fail: 1, Partial: 2, Stderr: "no room\n", Times: 1})

	r := b.run(dir, "netlab", "up")
	if r.code != 1 || !strings.Contains(r.stderr, "no room\n") {
		t.Errorf("up: exit code %d, want 1 and the knob's text:\n%s", r.code, r.output)
	}
	if !exists(dir, "netlab.lock") {
		t.Error("a failed up has left no lock")
	}
	if diff := cmp.Diff(map[string]string{"r1": "running", "r2": "running"}, b.states()); diff != "" {
		t.Errorf("after a deployment that failed behind two nodes: %s", diff)
	}

	if r := b.run(dir, "netlab", "up"); r.code != 1 || !strings.Contains(r.output, "Cannot start another lab") {
		t.Errorf("up with a lock: exit code %d:\n%s", r.code, r.output)
	}
	b.mustRun(dir, "netlab", "up", "--snapshot")
	if diff := cmp.Diff(map[string]string{"r1": "running", "r2": "running", "r3": "running"}, b.states()); diff != "" {
		t.Error(diff)
	}
}

func TestFailedDestructionKeepsTheLab(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.lab("linux2", "linux2")
	b.mustRun(dir, "netlab", "up")
	b.host.SetKnob("containerlab destroy", standins.Knob{Fail: 1, Partial: 1})
	if r := b.run(dir, "netlab", "down", "--cleanup"); r.code != 1 {
		t.Errorf("down: exit code %d, want 1:\n%s", r.code, r.output)
	}
	if diff := cmp.Diff(map[string]string{"h2": "running", "r1": "running"}, b.states()); diff != "" {
		t.Error(diff)
	}
	b.host.SetKnob("containerlab destroy")
	b.mustRun(dir, "netlab", "down", "--cleanup")
	b.checkEmptyHost()
}

func TestInterruptOfTheGroupLeavesContainersCreated(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]float64{"they stay so": 0, "they come up later": 0.3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			gate := b.host.Gate("gate")
			b.host.SetKnob("containerlab deploy", standins.Knob{Gate: "gate", Late: late})
			up := b.start(b.lab("frr3", "frr3"), "netlab", "up")
			gate.Await(limit)
			if err := syscall.Kill(-up.cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if r := up.wait(); r.code != 1 {
				t.Errorf("up: exit code %d, want 1:\n%s", r.code, r.output)
			}
			up.awaitGroupGone()
			if late == 0 {
				if diff := cmp.Diff(map[string]string{"r1": "created", "r2": "created", "r3": "created"}, b.states()); diff != "" {
					t.Error(diff)
				}
				return
			}
			eventually(t, "all containers run", func() bool {
				return cmp.Equal(b.states(), map[string]string{"r1": "running", "r2": "running", "r3": "running"})
			})
		})
	}
}

// A deployment that survives Netlab finishes the lab.
func TestDeploymentOutlivesNetlab(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ignore []string
		group  bool
	}{
		"TERM to the leader":                   {},
		"TERM to the group, which it disobeys": {ignore: []string{"TERM"}, group: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			gate := b.host.Gate("gate")
			b.host.SetKnob("containerlab deploy", standins.Knob{Gate: "gate", Ignore: test.ignore})
			up := b.start(b.lab("frr3", "frr3"), "netlab", "up")
			gate.Await(limit)
			target := up.cmd.Process.Pid
			if test.group {
				target = -target
			}
			if err := syscall.Kill(target, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if r := up.wait(); r.signal != syscall.SIGTERM {
				t.Errorf("up ended with exit code %d, want by SIGTERM", r.code)
			}
			gate.Open()
			up.awaitGroupGone()
			if diff := cmp.Diff(map[string]string{"r1": "running", "r2": "running", "r3": "running"}, b.states()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTermToTheGroupEndsTheDeploymentAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host.SetKnob("containerlab deploy", standins.Knob{Gate: "gate", Partial: 1})
	up := b.start(b.lab("frr3", "frr3"), "netlab", "up")
	b.host.Gate("gate").Await(limit)
	if err := syscall.Kill(-up.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := up.wait(); r.signal != syscall.SIGTERM {
		t.Errorf("up ended with exit code %d, want by SIGTERM", r.code)
	}
	up.awaitGroupGone()
	if diff := cmp.Diff(map[string]string{"r1": "running", "r2": "created", "r3": "created"}, b.states()); diff != "" {
		t.Error(diff)
	}
}

// containerlab knows labs by name for the whole host: the same name in another folder is the same lab.
func TestSameNameReplacesTheLab(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.lab("frr3", "same"), b.lab("linux2", "same")
	b.mustRun(first, "netlab", "up")
	b.home = t.TempDir() // another user, whose status file knows of no lab
	b.mustRun(second, "netlab", "up")
	var nodes []string
	for _, c := range b.host.Containers() {
		nodes = append(nodes, c.Node)
		if want := filepath.Join(second, "clab.yml"); c.Topology != want {
			t.Errorf("%s comes from %s, want %s", c.Name, c.Topology, want)
		}
	}
	if diff := cmp.Diff([]string{"h1", "h2", "r1"}, nodes); diff != "" {
		t.Error(diff)
	}
}

// Labs that are not told apart get the same addresses, and the second can't start.
func TestSecondLabNeedsOtherAddresses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustRun(b.lab("frr3", "one"), "netlab", "up")
	b.home = t.TempDir()
	two := b.lab("frr3", "two")
	if r := b.run(two, "netlab", "up"); r.code != 1 || !strings.Contains(r.stderr, "Address already in use") {
		t.Errorf("up: exit code %d, want 1 and a word about the address:\n%s", r.code, r.output)
	}
	three := b.lab("frr3", "three")
	b.mustRun(three, "netlab", "up", "--plugin", "multilab", "-s", "defaults.multilab.id=7")
	if got := len(b.host.Containers()); got != 6 {
		t.Errorf("%d containers, want those of two labs: %+v", got, b.host.Containers())
	}
	if diff := cmp.Diff([]string{"netlab_mgmt", "nl_mgmt_7"}, b.host.Networks()); diff != "" {
		t.Error(diff)
	}
}

func TestMissingImageIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	none := ""
	b.host.SetKnob("docker image ls", standins.Knob{Stdout: &none, Match: "frrouting"})
	output := strings.Join(strings.Fields(b.mustRun(b.lab("linux2", "linux2"), "netlab", "up")), " ") // Netlab breaks lines
	if !strings.Contains(output, "try to download Docker image quay.io/frrouting") {
		t.Errorf("nothing said about the image:\n%s", output)
	}
}
