package e2e_test

import (
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/jobs"
)

// A program that may open no more files serves whom it can, loses nothing, and goes on when it may.
func TestTooManyOpenFiles(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.chatter("files", object{"lines": 20, "gate": "gate"})
	first := a.submit(t, object{"action": "create", "workdir": dir})
	a.awaitLog(t, first.ID, "chatter 20 of 20")
	pid := a.cmd.Process.Pid
	open, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	// The hard limit stays: whoever is not root could not raise it again.
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open) + 3), Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	second := a.submit(t, object{"action": "create", "workdir": dir})
	var connections []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", a.base[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		connections = append(connections, c)
		if _, err := c.Write([]byte("GET /jobs HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	openGate(t, dir)
	time.Sleep(500 * time.Millisecond) // in which it tries what it may not
	for _, c := range connections {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first.ID, second.ID} {
		job, log := a.finish(t, id)
		if job.State != jobs.Success || startsOf(log) != 1 || f.busLog(t, id) != log {
			t.Errorf("%s %s, started %d times\n%s", job.State, text(job.Error), startsOf(log), log)
		}
	}
}
