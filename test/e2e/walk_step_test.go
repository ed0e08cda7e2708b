package e2e_test

import (
	"math/rand/v2"
	"os"

	"netlab-runner/test/standins"
)

// step is one step of a walk, with all that it takes to do it again.
type step struct {
	// Do is "job", "knob", or the name of a sabotage of spoils.
	Do  string `json:"do"`
	Lab string `json:"lab,omitempty"`
	// Name is what of the lab is spoiled: a file, a container, a variant of the topology.
	Name string `json:"name,omitempty"`

	// Of a job.
	Action  string `json:"action,omitempty"`
	Timeout int    `json:"timeout,omitempty"`
	// Beside says that the next step does not wait for the job.
	Beside bool `json:"beside,omitempty"`
	// At is the stand-ins' step at which the job hangs, Knob how; empty: it is disturbed after so many milliseconds.
	At    string `json:"at,omitempty"`
	After int    `json:"after,omitempty"`
	// Then is how the job is disturbed.
	Then string `json:"then,omitempty"`

	Knob *standins.Knob `json:"knob,omitempty"`
}

// programSteps are what the stand-ins are called for.
var programSteps = []string{
	"containerlab deploy", "containerlab deploy", "containerlab deploy", "containerlab destroy", "containerlab destroy", "containerlab version",
	"docker version", "docker ps", "docker image ls", "docker network ls", "docker network inspect", "docker network rm", "docker rm",
	"docker exec", "sudo ip link add", "sudo ip link set", "sudo ip link del", "sudo ip netns exec", "sudo sh", "brctl show",
}

// next is a random step.
func (w *walk) next(r *rand.Rand) step {
	lab := w.labs[r.IntN(len(w.labs))]
	switch n := r.IntN(100); {
	case n < 57:
		return w.nextJob(r, lab)
	case n < 66:
		knob := standins.Knob{Times: 1 + r.IntN(3), Partial: r.IntN(3), Fail: 1 + r.IntN(2), Stderr: "sabotage\n"}
		return step{Do: "knob", At: pick(r, programSteps...), Knob: &knob}
	case n < 69:
		return step{Do: "kill worker"}
	default:
		return w.nextSpoil(r, lab)
	}
}

func (w *walk) nextJob(r *rand.Rand, lab *walkLab) step {
	s := step{
		Do: "job", Lab: lab.name, Timeout: 60, Beside: r.IntN(4) == 0,
		Action: pick(r, "up", "up", "up", "up", "down", "destroy", "destroy", "restart", "restart", "create", "collect", "status", "validate"),
	}
	switch n := r.IntN(100); {
	case n < 10:
		s.Timeout = 1 + r.IntN(2)
	case n < 22:
		s.After, s.Then = r.IntN(2500), pick(r, "cancel", "kill driver", "kill command", "kill one", "kill worker")
	case n < 45:
		s.At, s.Then, s.Timeout = pick(r, programSteps...), pick(r, "cancel", "cancel", "kill driver", "kill command", "kill one", "kill worker", "timeout"), 20
		s.Knob = &standins.Knob{Partial: r.IntN(3)}
		switch r.IntN(3) {
		case 0:
			s.Knob.Ignore = []string{"INT"}
		case 1:
			s.Knob.Ignore = []string{"INT", "TERM"}
		}
		if r.IntN(3) == 0 {
			s.Knob.Late = 0.5
		}
		if s.Then == "timeout" {
			s.Timeout = 3
		}
	}
	return s
}

func (w *walk) nextSpoil(r *rand.Rand, lab *walkLab) step {
	s := step{Lab: lab.name, Do: pick(r,
		"delete", "delete", "delete", "delete own", "empty", "remove directory", "cut", "garble", "topology", "topology", "topology", "touch",
		"lock", "move", "lay out", "cut status", "garble status", "empty status", "ghost here", "ghost elsewhere", "ghost gone",
		"docker rm", "docker stop", "docker network rm", "swap",
		"pipe", "folder", "dangling link", "damage home",
	)}
	switch s.Do {
	case "topology":
		s.Name = pick(r, "node added", "node removed", "provider", "name", "broken", "original", "multilab")
	case "delete", "cut", "garble", "touch":
		entries, err := os.ReadDir(lab.dir())
		if err != nil || len(entries) == 0 {
			s.Do = "lay out"
			break
		}
		s.Name = entries[r.IntN(len(entries))].Name()
	case "pipe", "folder", "dangling link":
		s.Name = pick(r, "netlab.lock", "netlab.snapshot.pickle", "netlab.snapshot.yml", ".netlab-inputs.json", "clab.yml", "hosts.yml",
			"node_files", "external.txt", "topology.yml", "config")
	case "damage home":
		s.Name = pick(r, "stats.json", "topology-defaults.pickle", "status.yaml.lock", "status.yaml", ".")
	case "delete own":
		s.Name = pick(r, "topology.yml", "mark.py")
	case "docker rm", "docker stop":
		containers := w.f.standins.Containers()
		if len(containers) == 0 {
			s.Do = "lock"
			break
		}
		s.Name = containers[r.IntN(len(containers))].Name
	case "swap", "ghost elsewhere":
		s.Name = w.labs[r.IntN(len(w.labs))].name
	}
	return s
}

func pick(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }
