package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/test/labs"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

// fleet is a running system: one process with all in it, or a server, APIs and workers of their own.
type fleet struct {
	t       *testing.T
	dir     string
	root    string // below which working directories lie
	apis    []*api
	workers []*program
	// busURL and busKey are how a client of the bus reaches it.
	busURL, busKey string
	// server is the bus where it is a process of its own, on that port.
	server   *program
	port     string
	standins *standins.Standins
	extra    []string
	// release is where the programs are that it starts; empty: those of this tree.
	release string
}

// api is one running API.
type api struct {
	*program
	base string
	env  []string
	// client and header are what reaches an API with TLS, and with credentials.
	client *http.Client
	header []string
}

// newFleet prepares a fleet without any process. extra is added to every program's environment.
func newFleet(t *testing.T, extra ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), standins: standins.Install(t), extra: extra}
	f.root = filepath.Join(f.dir, "labs")
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// environment is what every program of the fleet has in common. Each worker has a home, and so a Netlab, of its own.
func (f *fleet) environment(home string) []string {
	f.t.Helper()
	if err := os.MkdirAll(f.path(home), 0o755); err != nil {
		f.t.Fatal(err)
	}
	return slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + f.path(home),
		"NETLAB_BUS_LEASE=2s",
		"NETLAB_BUS_JOBS_BYTES=64MiB",
		"NETLAB_BUS_LOGS_BYTES=256MiB",
		"NETLAB_BUS_OBJECTS_BYTES=64MiB",
		"NETLAB_WORKER_PYTHON=" + standins.Python(f.t),
		"NETLAB_WORKER_PATH=" + f.standins.Path(),
		"NETLAB_WORKER_ROOTS=" + f.root,
		"NETLAB_WORKER_SLOTS=2",
		"NETLAB_RUN_AS_USER=" + people.Caller(f.t),
		// Users of this machine, and those that other tests make, have labs of their own.
		"NETLAB_WORKER_HOMES=" + f.dir,
	}, f.extra)
}

// single is one process with everything in it.
func single(t *testing.T, extra ...string) *fleet {
	t.Helper()
	f := newFleet(t, extra...)
	f.startSingle()
	return f
}

func (f *fleet) startSingle() {
	f.t.Helper()
	env := append(f.environment("home"),
		"NETLAB_API_DATA_DIR="+f.path("data"), "NETLAB_API_PORT=0", "NETLAB_API_WITH_WORKER=true",
		"NETLAB_BUS_LISTEN=127.0.0.1:0", "NETLAB_WORKER_HOST=alpha")
	a := f.startAPI(env)
	m := a.expect(`bus listening.* url=(\S+) credentials=(\S+)`)
	f.busURL, f.busKey = m[1], m[2]
	a.awaitReady(1)
}

// coldRuns has each run of a worker import Netlab by itself, as is the way back where no parent can be forked; forkedRuns is the default.
const (
	coldRuns   = "NETLAB_WORKER_WARM=0"
	forkedRuns = "NETLAB_WORKER_WARM=10m"
)

// split is a real server, two APIs and three workers as processes of their own. The workers are there first. Their runs are cold, unless
// extra says otherwise: three parents would cost most of such a test, which has a run or two. Those of single are forked.
func split(t *testing.T, extra ...string) *fleet {
	t.Helper()
	f := newFleet(t, append([]string{coldRuns}, extra...)...)
	f.port = freePort(t)
	f.busURL = "nats://127.0.0.1:" + f.port
	for _, host := range []string{"alpha", "beta", "gamma"} {
		f.startWorker(host)
	}
	first := f.startAPI(f.apiEnvironment("one"))
	f.startServer()
	second := f.startAPI(f.apiEnvironment("two"))
	first.awaitReady(3)
	second.awaitReady(3)
	return f
}

func (f *fleet) startServer() {
	f.t.Helper()
	p := launch(f.t, "nats-server", nil, "-c", f.serverConfig())
	p.expect("Server is ready")
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if strings.Contains(line, "[WRN]") || strings.Contains(line, "invalid use") {
			f.t.Errorf("the server warns of its configuration: %s", line)
		}
	}
	f.server = p
}

// serverConfig writes the configuration that operators are given, on another port and in another place, and returns its path.
func (f *fleet) serverConfig() string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats-server.conf"))
	if err != nil {
		f.t.Fatal(err)
	}
	config := f.path("nats.conf")
	own := strings.NewReplacer("127.0.0.1:4222", "127.0.0.1:"+f.port, "/var/lib/nats", f.path("nats")).Replace(string(text))
	if err := os.WriteFile(config, []byte(own), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return config
}

func (f *fleet) apiEnvironment(name string) []string {
	return append(f.environment("home-"+name),
		"NETLAB_API_DATA_DIR="+f.path(name), "NETLAB_API_PORT=0", "NETLAB_BUS_URL="+f.busURL)
}

func (f *fleet) startAPI(env []string) *api {
	f.t.Helper()
	a := &api{program: launch(f.t, filepath.Join(f.release, "netlab-api"), env), env: env, client: newClient()}
	a.reach(a.expect(`listening.* address=(\S+)`)[1])
	f.apis = append(f.apis, a)
	return a
}

func (f *fleet) startWorker(host string) *program {
	f.t.Helper()
	w := launch(f.t, "netlab-worker", append(f.environment("home-"+host),
		"NETLAB_WORKER_DATA_DIR="+f.path("worker-"+host), "NETLAB_WORKER_HOST="+host, "NETLAB_WORKER_LABELS=name="+host,
		"NETLAB_BUS_URL="+f.busURL))
	f.workers = append(f.workers, w)
	return w
}

// any is an API, the last one started.
func (f *fleet) any() *api { return f.apis[len(f.apis)-1] }

// lab makes a working directory with a copy of a sample lab, and gives its path.
func (f *fleet) lab(name, sample string) string {
	f.t.Helper()
	dir := filepath.Join(f.root, name)
	labs.Copy(f.t, sample, dir)
	return dir
}

// forBothShapes runs a test on one process with all in it and on a fleet of processes.
func forBothShapes(t *testing.T, test func(t *testing.T, f *fleet)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T, ...string) *fleet{"single": single, "split": split} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// freePort is a port of loopback that a program may listen on. A socket that is bound to it, but does not listen, keeps it from whoever asks for
// any port, until the test ends.
func freePort(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(address.(*syscall.SockaddrInet4).Port)
}

func exists(t *testing.T, path ...string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(path...))
	if err != nil && !os.IsNotExist(err) && !strings.Contains(err.Error(), "not a directory") {
		t.Fatal(err)
	}
	return err == nil
}
