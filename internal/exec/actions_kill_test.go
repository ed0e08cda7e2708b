package exec_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/exec"
	samples "netlab-runner/test/labs"
	"netlab-runner/test/standins"
)

// An up dies by SIGKILL at each of its steps. Whatever it leaves, each action finds it and brings it to a good end.
func TestUpKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step    string // of the stand-ins; empty: Netlab's generation
		partial int
		actions []string
	}{
		"generation": {actions: []string{"up", "down", "destroy"}},
		"probes":     {step: "docker version", actions: []string{"up"}},
		"images":     {step: "docker image ls", actions: []string{"destroy"}},
		"bridge":     {step: "sudo ip link set", actions: []string{"down", "destroy"}},
		"deployment": {step: "containerlab deploy", partial: 1, actions: []string{"up", "down", "destroy", "restart"}},
		"initial":    {step: "sudo ip netns exec", actions: []string{"up"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := owned()
			if c.step == "" {
				files["topology.yml"] += "plugin: [ chatter ]\n"
				files["chatter.py"], files["chatter.json"] = chatter(t), `{"gate": "../gate"}`
			}
			l := clab(t, files)
			gate := l.host.Gate("gate")
			if c.step == "" {
				gate = l.host.GateAt(l.root + "/gate")
			} else {
				l.host.SetKnob(c.step, standins.Knob{Gate: "gate", Partial: c.partial})
			}
			p := l.start(t, l.run(t, action("up")))
			gate.Await(deadline)
			if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Kill: time.Minute}}); err != nil {
				t.Fatal(err)
			}
			gate.Open()
			saved := l.save(t)
			for _, name := range c.actions {
				l.restore(t, saved)
				log := l.must(t, name)
				l.mustBeAsAfter(t, name, files)
				if t.Failed() {
					t.Fatalf("after %s:\n%s", name, log)
				}
			}
		})
	}
}

// A changed lab's up dies while it takes the old lab down, and before it has written the new one.
func TestUpKilledBetweenOldAndNew(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	writeFile(t, l.workdir+"/topology.yml", bridged+"message: changed\n")
	l.host.SetKnob("containerlab destroy", standins.Knob{Gate: "gate"})
	r := l.run(t, action("up"))
	temporary := t.TempDir()
	r.Env = append(r.Env, "TMPDIR="+temporary)
	p := l.start(t, r)
	l.host.Gate("gate").Await(deadline)
	if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Kill: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left beside the run's directory: %v, %v", left, err)
	}
	l.host.SetKnob("containerlab destroy")
	saved := l.save(t)
	log := l.must(t, "up")
	mustContain(t, log, "topology.yml has changed")
	l.mustRun(t)
	l.restore(t, saved)
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

func chatter(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	samples.Copy(t, "chatter", dir)
	return readFile(t, dir+"/chatter.py")
}

// An up and a create die while Netlab writes the first of the lab's files: nothing but those says that a lab was begun here.
func TestKilledWhileFilesAreWritten(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"up", "create"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := owned()
			files["topology.yml"] = strings.Replace(bridged, "[ h1, h2, h3 ]", "{ h1: {}, h2: {}, h3: { config: [ endless ] } }", 1)
			files["endless.j2"] = "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}\n"
			l := clab(t, files)
			p := l.start(t, l.run(t, action(name)))
			for end := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(l.workdir + "/node_files"); err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("no file is written:\n%s", readFile(t, l.output()))
				}
			}
			if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.Grace{Kill: time.Minute}}); err != nil {
				t.Fatal(err)
			}
			l.must(t, "destroy")
			l.mustBeDestroyed(t, files)
		})
	}
}
