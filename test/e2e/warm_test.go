package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// A worker whose settings say nothing of it forks its runs from a process that has Netlab imported.
func TestRunsAreForked(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "deploy"})
	job := a.submit(t, object{"action": "up", "workdir": f.lab("forked", "linux2")})
	f.standins.Gate("deploy").Await(patience)
	forked := false
	for pid := range jobPIDs(job.ID) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parent(pid)))
		forked = forked || strings.Contains(string(line), "/main.py\x00warm\x00")
	}
	if !forked {
		t.Error("the run was not forked")
	}
	f.standins.Gate("deploy").Open()
	if ended, log := a.finish(t, job.ID); ended.State != jobs.Success {
		t.Errorf("%s\n%s", ended.State, log)
	}
}
