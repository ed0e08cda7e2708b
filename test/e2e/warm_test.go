package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// A worker whose settings say nothing of it forks its runs from a process that has Netlab imported. That is gone with the worker, even
// while it hangs, and the run is not.
func TestRunsAreForked(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "deploy"})
	job := a.submit(t, object{"action": "up", "workdir": f.lab("forked", "linux2")})
	f.standins.Gate("deploy").Await(patience)
	warm := 0
	for pid := range jobPIDs(job.ID) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parent(pid)))
		if strings.Contains(string(line), "/main.py\x00warm\x00") {
			warm = parent(pid)
		}
	}
	if warm == 0 {
		t.Fatal("the run was not forked")
	}
	end, err := unix.PidfdOpen(warm, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(end)
	if err := unix.PidfdSendSignal(end, unix.SIGSTOP, nil, 0); err != nil {
		t.Fatal(err)
	}
	a.kill()
	ended := []unix.PollFd{{Fd: int32(end), Events: unix.POLLIN}}
	for limit := time.Now().Add(patience); ; {
		n, err := unix.Poll(ended, int(pollPause.Milliseconds()))
		if n == 1 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("process %d outlives its worker (%v)", warm, err)
		}
	}
	f.startSingle()
	f.standins.Gate("deploy").Open()
	if ended, log := f.any().finish(t, job.ID); ended.State != jobs.Success {
		t.Errorf("%s\n%s", ended.State, log)
	}
}
