package exec_test

import (
	"testing"

	"netlab-runner/test/standins"
)

// A lab's tools are containers without a lab's label.
func TestToolsAreTakenDown(t *testing.T) {
	t.Parallel()
	files := owned()
	files["topology.yml"] = "provider: clab\ndefaults.device: linux\nnodes: [ h1 ]\ntools:\n  suzieq:\n"
	l := clab(t, files)
	l.must(t, "up")
	if n := len(l.host.Containers()); n != 2 {
		t.Fatalf("%d containers, want a node and a tool", n)
	}
	saved := l.save(t)
	for name, spoil := range map[string]func(){
		"all files deleted":   func() { l.remove(t, append(generated(), ".netlab-inputs.json", "suzieq")...) },
		"its own down failed": func() { l.host.SetKnob("docker kill", standins.Knob{Fail: 1}) },
	} {
		l.restore(t, saved)
		spoil()
		l.must(t, "destroy")
		if left := l.host.Containers(); len(left) > 0 {
			t.Errorf("%s: %v are left", name, left)
		}
	}
}

// The names of the containers are in the commands that start them.
func TestNamesOfTools(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
from netlab_driver import identity
from netsim.utils import read
tools = read.system_defaults().defaults.tools
lab = {"name": "x", "defaults": {"tools": tools}, "tools": {name: {} for name in ("suzieq", "nso", "graphite", "edgeshark", "nuts")}}
want = ["x_suzieq", "x-cisco-nso", "x_graphite", "gostwire", "edgeshark", "x_nuts"]
assert identity.tools(lab) == want, identity.tools(lab)
assert set(want) - {"gostwire", "edgeshark"} <= set(identity.usual_tools("x")), identity.usual_tools("x")
assert not {"gostwire", "edgeshark"} & set(identity.usual_tools("x"))
assert identity.tools({"name": "x", "tools": {"own": {"docker": {"up": "docker run --name='{name}.own' y"}}, "odd": None}}) == ["x.own", "x_odd"]
`)
}
