package exec_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/test/standins"
)

// labState is a state that a lab can get into, how it comes to that, and what is special about the actions there.
type labState struct {
	// from is create or up, what is done before; empty: nothing.
	from string
	// spoil brings the lab into the state.
	spoil func(*testing.T, *clabLab)
	// says is what the log of an action has.
	says map[string]string
	// actions are those that are tried. Without them up, down and destroy: a restart does what an up does.
	actions []string
	// untouched says that an up leaves the containers alone.
	untouched bool
}

func labStates() map[string]labState {
	return map[string]labState{
		"nothing": {actions: []string{"down", "destroy", "restart"}, says: map[string]string{"down": "not found", "destroy": "not found", "restart": "not found"}},
		"created": {from: "create", actions: []string{"up", "down", "destroy"}, says: map[string]string{"down": "not found", "destroy": "not found", "restart": "not found"}},
		"running": {from: "up", actions: []string{"up", "down", "destroy", "restart"}, untouched: true, says: map[string]string{"up": "runs and is unchanged, nothing to do"}},
		"topology changed": {
			from: "up", actions: []string{"up", "destroy"},
			spoil: func(t *testing.T, l *clabLab) { writeFile(t, l.workdir+"/topology.yml", bridged+"message: changed\n") },
			says:  map[string]string{"up": "topology.yml has changed"},
		},
		"lock deleted": {from: "up", actions: []string{"up", "destroy"}, spoil: func(t *testing.T, l *clabLab) { l.remove(t, "netlab.lock") }, says: map[string]string{"up": "started again from its snapshot"}},
		"generated files deleted": {
			from:  "up",
			spoil: func(t *testing.T, l *clabLab) { l.remove(t, generated()...) },
			says:  map[string]string{"up": "netlab.snapshot.pickle is not found", "down": "netlab.snapshot.pickle is not found"},
		},
		"manifest and generated files deleted": {
			from: "up", actions: []string{"restart", "destroy"}, spoil: func(t *testing.T, l *clabLab) { l.remove(t, append(generated(), ".netlab-inputs.json")...) },
			says: map[string]string{"destroy": "by what Docker has of it"},
		},
		"clab.yml deleted": {
			from: "up", spoil: func(t *testing.T, l *clabLab) { l.remove(t, "clab.yml") },
			says: map[string]string{"restart": "clab.yml is not found", "down": "clab.yml is not found"},
			// It runs, so an up leaves it alone.
			actions: []string{"restart", "destroy"},
		},
		"snapshot truncated": {
			from: "up", actions: []string{"up", "down"},
			spoil: func(t *testing.T, l *clabLab) { truncate(t, l.workdir+"/netlab.snapshot.pickle") },
			says:  map[string]string{"up": "netlab.snapshot.pickle is damaged", "down": "netlab.snapshot.pickle is damaged"},
		},
		"moved": {
			from: "up", spoil: func(t *testing.T, l *clabLab) { l.move(t) },
			says: map[string]string{"up": "it was started in ", "down": ", which was moved to "},
		},
		"moved, snapshot damaged": {from: "up", actions: []string{"down", "restart"}, spoil: func(t *testing.T, l *clabLab) {
			l.move(t)
			writeFile(t, l.workdir+"/netlab.snapshot.pickle", "garbage")
		}},
		"containers removed by hand": {from: "up", actions: []string{"up", "down"}, spoil: func(t *testing.T, l *clabLab) {
			l.docker(t, "rm", "-f", "clab-lab-h1", "clab-lab-h2", "clab-lab-h3")
		}, says: map[string]string{"up": "started again from its snapshot"}},
		"host rebooted": {from: "up", actions: []string{"up", "down"}, spoil: func(t *testing.T, l *clabLab) {
			l.docker(t, "stop", "clab-lab-h1", "clab-lab-h2", "clab-lab-h3")
		}, says: map[string]string{"up": "started again from its snapshot"}},
		"status entry lost": {from: "up", actions: []string{"down", "up"}, spoil: func(t *testing.T, l *clabLab) { writeFile(t, l.statusFile, "{}\n") }},
		"status file damaged": {
			from: "up", actions: []string{"up", "destroy"},
			spoil: func(t *testing.T, l *clabLab) { writeFile(t, l.statusFile, "default: {dir: [\n") },
			says:  map[string]string{"up": "is damaged, it is now", "destroy": "is damaged, it is now"},
		},
		"entries of the status file damaged": {
			from: "up", actions: []string{"up", "destroy"},
			spoil: func(t *testing.T, l *clabLab) {
				writeFile(t, l.statusFile, "default: foo\nother: { dir: /x, status: 5, providers: 5, log: 7 }\n")
			},
			says: map[string]string{"up": "these entries are damaged", "destroy": "these entries are damaged"},
		},
		"ghost of another directory": {
			from: "create", spoil: func(t *testing.T, l *clabLab) {
				writeFile(t, l.statusFile, "default:\n  dir: /nowhere/at/all\n  providers: []\n")
			},
			says: map[string]string{"up": "belongs to no lab any more"},
		},
		"probe failed": {from: "create", actions: []string{"restart", "destroy"}, spoil: func(t *testing.T, l *clabLab) {
			l.host.SetKnob("docker version", standins.Knob{Fail: 1, Times: 1})
			// The topology is not to blame for what the host does not have.
			if result, log := l.act(t, "up"); result.ExitCode != 1 || len(result.Errors) == 0 || result.Errors[0].File != "" {
				t.Fatalf("up: %+v\n%s", result, log)
			}
			if entries := l.entries(t); len(entries) != 0 {
				t.Errorf("a failed up has left a ghost: %v", entries)
			}
		}},
		"deployment failed": {actions: []string{"up", "destroy"}, spoil: func(t *testing.T, l *clabLab) {
			l.host.SetKnob("containerlab deploy", standins.Knob{Fail: 1, Partial: 2, Stderr: "no room\n", Times: 1})
			if result, log := l.act(t, "up"); result.ExitCode != 1 {
				t.Fatalf("up: %+v\n%s", result, log)
			}
		}, says: map[string]string{"up": "started again from its snapshot"}},
		"made by another Netlab": {from: "up", actions: []string{"up"}, spoil: func(t *testing.T, l *clabLab) {
			l.docker(t, "stop", "clab-lab-h1")
			l.python(t, `
import pickle
topology = pickle.load(open("netlab.snapshot.pickle", "rb"))
topology["_netlab_version"] = "25.01"
pickle.dump(topology, open("netlab.snapshot.pickle", "wb"))
`)
		}, says: map[string]string{"up": "Netlab 25.01 made it"}},
	}
}

// Every action gets the lab out of every state.
func TestActionsInEveryState(t *testing.T) {
	t.Parallel()
	const groups = 3 // each brings up one lab, and makes all of its states of that
	states := labStates()
	names := slices.Sorted(maps.Keys(states))
	for group := range groups {
		t.Run(strconv.Itoa(group), func(t *testing.T) {
			t.Parallel()
			l := clab(t, owned())
			before := map[string]string{"": l.save(t)}
			l.must(t, "create")
			before["create"] = l.save(t)
			l.must(t, "up")
			before["up"] = l.save(t)
			for i, name := range names {
				if i%groups != group {
					continue
				}
				t.Run(name, func(t *testing.T) {
					l.restore(t, before[states[name].from])
					l.tryEveryAction(t, states[name])
				})
			}
		})
	}
}

func (l *clabLab) tryEveryAction(t *testing.T, state labState) {
	t.Helper()
	if state.spoil != nil {
		state.spoil(t, l)
	}
	saved := l.save(t)
	actions := state.actions
	if actions == nil {
		actions = []string{"up", "down", "destroy"}
	}
	for _, action := range actions {
		l.restore(t, saved)
		before := l.host.Containers()
		log := l.must(t, action)
		mustContain(t, log, state.says[action])
		l.mustBeAsAfter(t, action, owned())
		if action == "up" && state.untouched {
			if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
				t.Error(diff)
			}
		}
		if t.Failed() {
			t.Fatalf("after %s:\n%s", action, log)
		}
	}
}

// docker runs the stand-in as somebody at a terminal would.
func (l *clabLab) docker(t *testing.T, args ...string) {
	t.Helper()
	l.python(t, "import subprocess, sys\nsubprocess.run(sys.argv[1:], check=True)", append([]string{filepath.Join(l.host.Path(), "docker")}, args...)...)
}

func truncate(t *testing.T, name string) {
	t.Helper()
	content := readFile(t, name)
	writeFile(t, name, content[:len(content)/2])
}
