package exec_test

import (
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/test/standins"
)

// Docker answers some questions of a down and then no more, while containerlab fails: what Docker does not say is not gone.
func TestDownWhileDockerGoesAway(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	for _, name := range []string{"down", "destroy"} {
		for answered := 1; answered < 4; answered++ {
			l.host.SetKnob("containerlab destroy", standins.Knob{Fail: 1})
			l.host.SetKnob("docker rm", standins.Knob{Fail: 1})
			l.host.SetKnob("docker ps",
				standins.Knob{Match: "docker ps -a", Times: answered}, standins.Knob{Match: "docker ps -a", Fail: 1, Stderr: "Cannot connect to the Docker daemon"})
			result, log := l.act(t, name)
			if result.ExitCode == 0 || len(l.entries(t)) == 0 {
				t.Fatalf("%s with %d answers: exit code %d, entries %v\n%s", name, answered, result.ExitCode, l.entries(t), log)
			}
		}
	}
	l.host.SetKnob("containerlab destroy")
	l.host.SetKnob("docker rm")
	l.host.SetKnob("docker ps")
	l.must(t, "down")
	l.mustBeDown(t)
}

// Netlab's down takes an interrupt during its probes for an answer, and ends with 0 as if it had done its work. The action ends
// all the same, and removes nothing any more.
func TestDownInterruptedAtItsProbes(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	for _, name := range []string{"down", "destroy"} {
		l.host.SetKnob("docker version", standins.Knob{Gate: name})
		p := l.start(t, l.run(t, action(name)))
		l.host.Gate(name).Await(deadline)
		if err := p.Stop(testContext(t), exec.StopOptions{Grace: exec.DefaultGrace}); err != nil {
			t.Fatal(err)
		}
		if result := wait(t, p); result.ExitCode == 0 || !result.Stopped || len(l.running()) != 3 || len(l.entries(t)) == 0 {
			t.Errorf("%s: %+v, entries %v, containers %v", name, result, l.entries(t), l.running())
		}
	}
	l.host.SetKnob("docker version")
	l.must(t, "down")
	l.mustBeDown(t)
}
