package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"

	"netlab-runner/internal/jobs"
)

// asService starts a program as systemd starts a unit with Type=notify, WatchdogSec=, and a socket where there is one.
func asService(t *testing.T, socket *os.File, name string, env []string, args ...string) (p *program, said func(string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	env = append(env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=3000000")
	p = launchWith(t, func(cmd *exec.Cmd) {
		if socket != nil {
			// Only the program itself knows its number before it has begun.
			cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			cmd.ExtraFiles = []*os.File{socket}
		}
	}, name, env, args...)
	// All is read at once, as systemd does: a program waits with what the socket has no room for.
	words := make(chan string, 1000)
	go func() {
		for text := make([]byte, 1024); ; {
			n, err := manager.Read(text)
			if err != nil {
				return
			}
			words <- string(text[:n])
		}
	}()
	said = func(want string) {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case text := <-words:
				if text == want {
					return
				}
			case <-end:
				t.Fatalf("%s has not said %s", name, want)
			}
		}
	}
	return p, said
}

// heldSocket is what systemd holds for the API, and its address.
func heldSocket(t *testing.T) (socket *os.File, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if socket, err = listener.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	if err := listener.Close(); err != nil { // the file is the socket's, too
		t.Fatal(err)
	}
	return socket, listener.Addr().String()
}

// The socket of the unit is held while the program is started anew: whoever polls waits, and sees no error.
func TestRestartUnderPollers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	socket, address := heldSocket(t)
	env := append(f.environment("home"), "NETLAB_API_DATA_DIR="+f.path("data"), "NETLAB_API_WITH_WORKER=true", "NETLAB_WORKER_HOST=alpha",
		"NETLAB_API_PORT=1", "NETLAB_API_CLIENT_CONNECTIONS=4096")
	start := func() *program {
		p, said := asService(t, socket, "netlab-api", env)
		said("READY=1")
		return p
	}
	p := start()
	base := "http://" + address
	a := &api{program: p, base: base, client: newClient()}
	a.awaitReady(1)
	job, _ := a.run(t, jobs.Success, object{"action": "validate", "workdir": f.lab("ext", "external")})

	const clients = 1000
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var polling sync.WaitGroup
	var polls, faults atomic.Int64
	transport := &http.Transport{DisableKeepAlives: true}
	for n := range clients {
		polling.Go(func() {
			for wait := time.Duration(n) * time.Second / clients; ; wait = time.Second {
				select {
				case <-ctx.Done():
					return
				case <-time.After(wait):
				}
				// None is broken off: each has its answer, also behind the last restart.
				if err := poll(t.Context(), transport, base+"/jobs/"+job.ID); err != nil {
					if faults.Add(1) < 10 {
						t.Error(err)
					}
				}
				polls.Add(1)
			}
		})
	}
	round := func() {
		seen := polls.Load()
		for end := time.Now().Add(patience); polls.Load() < seen+clients && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	}
	for range 3 {
		round()
		p.stop()
		p = start()
	}
	round()
	stop()
	polling.Wait()
	if n := faults.Load(); n > 0 || polls.Load() < 4*clients {
		t.Errorf("%d of %d polls failed", n, polls.Load())
	}
}

func poll(ctx context.Context, transport *http.Transport, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var job jobs.Job
	if err = errors.Join(err, json.Unmarshal(body, &job)); err != nil || response.StatusCode != http.StatusOK || job.State != jobs.Success {
		return fmt.Errorf("status %d, %w, %.200s", response.StatusCode, err, body)
	}
	return nil
}

// Both programs say when they are ready, that they are alive, and that they stop.
func TestServicesSayHowTheyAre(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	api, said := asService(t, nil, "netlab-api", append(f.environment("home"), "NETLAB_API_DATA_DIR="+f.path("api"), "NETLAB_API_PORT=0"))
	said("READY=1")
	said("WATCHDOG=1")
	api.stop()
	said("STOPPING=1")
	// A worker is ready though there is no bus yet.
	worker, said := asService(t, nil, "netlab-worker", append(f.environment("home"), "NETLAB_WORKER_DATA_DIR="+f.path("worker"), "NETLAB_BUS_URL=nats://127.0.0.1:1"))
	said("READY=1")
	said("WATCHDOG=1")
	worker.stop()
	said("STOPPING=1")
}

// While the API's server reads a large store after a crash, systemd is asked to wait, and so do clients. A signal ends the program all the same.
func TestAStoreThatIsReadForLong(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	env := append(f.environment("home"), "NETLAB_API_DATA_DIR="+f.path("api"), "NETLAB_API_PORT=0")
	first, said := asService(t, nil, "netlab-api", env)
	said("READY=1")
	first.stop()
	// Whoever reads a pipe waits for its writer.
	store := filepath.Join(f.path("api"), "bus", "jetstream", "$G", "streams", "NETLAB_JOBS", "meta.inf")
	content, err := os.ReadFile(store)
	if err = errors.Join(err, os.Remove(store), syscall.Mkfifo(store, 0o600)); err != nil {
		t.Fatal(err)
	}
	const wait = "EXTEND_TIMEOUT_USEC=60000000"
	ended, said := asService(t, nil, "netlab-api", env)
	said(wait)
	ended.stop()
	if code := ended.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}

	socket, address := heldSocket(t)
	_, said = asService(t, socket, "netlab-api", env)
	said(wait)
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "GET /readyz HTTP/1.1\r\nHost: api\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, content, 0o600); err != nil { // it returns when the server has begun to read
		t.Fatal(err)
	}
	said("READY=1")
	if err := client.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("who came meanwhile gets %+v, %v", response, err)
	}
}

// What is in deploy is what systemd takes, and has the lines that promises rest on.
func TestUnits(t *testing.T) {
	t.Parallel()
	const directory = "../../deploy/systemd"
	units, err := os.ReadDir(directory)
	if err != nil || len(units) != 3 {
		t.Fatalf("%q %v", units, err)
	}
	dir, args, lines := t.TempDir(), []string{"verify"}, map[string]string{}
	for _, u := range units {
		text, err := os.ReadFile(filepath.Join(directory, u.Name()))
		if err != nil {
			t.Fatal(err)
		}
		options, err := unit.DeserializeOptions(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", u.Name(), err)
		}
		for _, o := range options {
			key := u.Name() + " " + o.Section + " " + o.Name
			lines[key] = strings.TrimPrefix(lines[key]+"; "+o.Value, "; ") // each of a list counts, and of all else one alone is right
		}
		copied := filepath.Join(dir, u.Name())
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), "/usr/local/bin", binaries)), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	const api, socket, worker = "netlab-api.service", "netlab-api.socket", "netlab-worker.service"
	const rightless = "whoever gets hold of the API has no more rights on this machine than it needs"
	for _, needed := range []struct{ unit, section, name, value, reason string }{
		{worker, "Service", "KillMode", "process", "runs of Netlab go on while the worker is stopped"},
		{worker, "Service", "OOMPolicy", "continue", "a process of a lab that takes too much memory does not end the worker"},
		{worker, "Service", "TasksMax", "infinity", "the processes of all labs count as the worker's"},
		{worker, "Service", "StateDirectoryMode", "0711", "the users of the jobs read the driver there"},
		{worker, "Service", "Type", "notify", "a restart says when the worker is ready"},
		{worker, "Service", "WatchdogSec", "30s", "a worker that hangs is started anew"},
		{worker, "Service", "Restart", "always", "a worker that ended by a fault is started anew"},
		{worker, "Service", "RestartSec", "500ms", "and at once"},
		{worker, "Unit", "StartLimitIntervalSec", "0", "and as often as it takes"},
		{worker, "Service", "TimeoutStopSec", "30s", "what is under way is ended in order"},
		{worker, "Service", "LimitNOFILE", "65536", "each job has files open"},
		{worker, "Service", "ProtectClock", "true", "no lab sets the clock"},
		{worker, "Service", "ProtectHostname", "true", "no lab renames the host"},
		{worker, "Service", "LockPersonality", "true", "no lab needs another"},
		{api, "Service", "Type", "notify", "systemd waits for an API whose bus reads a large store, and a restart says when the API is ready"},
		{api, "Service", "WatchdogSec", "30s", "an API that hangs is started anew"},
		{api, "Service", "Restart", "always", "an API that ended by a fault is started anew"},
		{api, "Service", "RestartSec", "500ms", "and at once: its clients wait"},
		{api, "Service", "StateDirectoryMode", "0700", "logs and keys are for nobody else"},
		{api, "Unit", "StartLimitIntervalSec", "0", "and as often as it takes: the socket would be closed with it"},
		{api, "Service", "TimeoutStopSec", "30s", "streams are ended in order, within 10 s"},
		{api, "Service", "LimitNOFILE", "65536", "each client has a connection, and each log a file"},
		{api, "Service", "OOMPolicy", "continue", "nothing of it is ended but what took too much memory"},
		{api, "Service", "KillMode", "", "it is for an API without a worker, which leaves nothing behind"},
		{api, "Service", "DynamicUser", "true", "it is nobody on this machine"},
		{api, "Service", "UMask", "0077", rightless},
		{api, "Service", "CapabilityBoundingSet", "", rightless},
		{api, "Service", "AmbientCapabilities", "", rightless},
		{api, "Service", "NoNewPrivileges", "true", rightless},
		{api, "Service", "ProtectSystem", "strict", rightless},
		{api, "Service", "ProtectHome", "true", rightless},
		{api, "Service", "ProtectProc", "invisible", rightless},
		{api, "Service", "ProcSubset", "pid", rightless},
		{api, "Service", "PrivateTmp", "true", rightless},
		{api, "Service", "PrivateDevices", "true", rightless},
		{api, "Service", "ProtectClock", "true", rightless},
		{api, "Service", "ProtectControlGroups", "true", rightless},
		{api, "Service", "ProtectHostname", "true", rightless},
		{api, "Service", "ProtectKernelLogs", "true", rightless},
		{api, "Service", "ProtectKernelModules", "true", rightless},
		{api, "Service", "ProtectKernelTunables", "true", rightless},
		{api, "Service", "RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX", rightless},
		{api, "Service", "RestrictNamespaces", "true", rightless},
		{api, "Service", "RestrictRealtime", "true", rightless},
		{api, "Service", "RestrictSUIDSGID", "true", rightless},
		{api, "Service", "LockPersonality", "true", rightless},
		{api, "Service", "MemoryDenyWriteExecute", "true", rightless},
		{api, "Service", "SystemCallArchitectures", "native", rightless},
		{api, "Service", "SystemCallFilter", "@system-service; ~@privileged @resources", rightless},
		{api, "Unit", "Requires", socket, "the API takes the address that systemd holds"},
		{socket, "Socket", "ListenStream", "127.0.0.1:8090", "whoever may reach more of it needs credentials"},
		{socket, "Socket", "Backlog", "4096", "clients wait while the API is started anew"},
		{socket, "Socket", "Accept", "", "one program has all connections"},
	} {
		if got := lines[needed.unit+" "+needed.section+" "+needed.name]; got != needed.value {
			t.Errorf("%s: %s=%s in [%s], want %s: %s", needed.unit, needed.name, got, needed.section, needed.value, needed.reason)
		}
	}
	// An empty value forbids as well as any other, and is not the same as no line.
	for _, name := range []string{"CapabilityBoundingSet", "AmbientCapabilities"} {
		if _, there := lines[api+" Service "+name]; !there {
			t.Errorf("%s: no %s=: %s", api, name, rightless)
		}
	}
	for _, name := range []string{
		"User", "DynamicUser", "CapabilityBoundingSet", "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts",
		"ProtectControlGroups", "ProtectKernelModules", "ProtectKernelTunables", "RestrictNamespaces", "RestrictSUIDSGID", "RestrictAddressFamilies",
		"SystemCallFilter", "MemoryDenyWriteExecute",
	} {
		if value, there := lines[worker+" Service "+name]; there {
			t.Errorf("%s: %s=%s forbids the same to the labs, which are started below it", worker, name, value)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed here")
	}
	if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
