package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/asroot"
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
	// What is written then says what helps.
	a.expect(`connections wait.*too many open files.*LimitNOFILE=.*ulimit -n`)
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

// A program whose data directory is mounted read-only does not start, and says what it cannot write, and what helps.
func TestAReadOnlyDataDirectory(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for name, test := range map[string]struct {
		program, setting, readOnly string
		words                      string
	}{
		"API":    {"netlab-api", "NETLAB_API_DATA_DIR", "", `NETLAB_API_DATA_DIR: cannot write there: .*read-only file system: mount its file system writable, or name`},
		"bus":    {"netlab-api", "NETLAB_API_DATA_DIR", "bus", `embedded bus: the disk of NETLAB_API_DATA_DIR cannot be written: .*/bus.*read-only file system: make it writable`},
		"worker": {"netlab-worker", "NETLAB_WORKER_DATA_DIR", "", `NETLAB_WORKER_DATA_DIR: cannot write there: .*read-only file system: mount its file system writable, or name`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := f.path("data-" + name)
			mountReadOnly(t, filepath.Join(dir, test.readOnly))
			p := launch(t, test.program, append(f.environment("home-"+name), test.setting+"="+dir, "NETLAB_API_PORT=0", "NETLAB_BUS_LISTEN=127.0.0.1:0",
				"NETLAB_BUS_URL="+map[bool]string{true: "nats://127.0.0.1:1"}[test.program == "netlab-worker"]))
			p.expect(test.words)
			<-p.done
			if code := p.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}

// mountReadOnly makes a directory and has nobody write in it until the test ends.
func mountReadOnly(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	asroot.ReadOnly(t, dir)
}
