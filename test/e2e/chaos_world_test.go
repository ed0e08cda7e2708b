package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"netlab-runner/test/asroot"
)

// chaos is a fleet of real programs, each with a way of its own to the bus, and what is found out about it.
type chaos struct {
	t     *testing.T
	f     *fleet
	long  bool
	begin time.Time
	// logs is a folder with what each start of a program wrote, and the story. It outlives the long form, and a short one that failed.
	logs   string
	tally  string // the file in which the plugin of the labs counts
	bus    *process
	apis   []*chaosAPI
	hosts  []*chaosHost
	links  map[string]*link // by the name of the program
	server string           // the bus's address, which changes with each start
	// observer is a subscriber's way to the bus. Nothing happens to it.
	observer *link
	// disks are the folders that are file systems of their own, by the name of the program. Where that is not possible there are none.
	disks map[string]string
	// samples are the files of the labs, by the name of the sample.
	samples map[string]map[string]string

	mu       sync.Mutex
	story    []line
	findings []finding
	// fullTimes are when a program's disk was full.
	fullTimes map[string][]span
	// cut is since when the way of a program is cut.
	cut map[string]time.Time
}

// line is a moment of the story. job is empty where it is about none.
type line struct {
	at   time.Duration
	job  string
	text string
}

func (l line) String() string {
	return strings.TrimSpace(fmt.Sprintf("%9.3f %s %s", l.at.Seconds(), l.job, l.text))
}

// chaosAPI is an API as a process, with the address of its present start.
type chaosAPI struct {
	*process
	number  int
	dataDir string
	base    atomic.Pointer[address]
}

// address is where a start of an API listens.
type address struct {
	url   string
	start int
}

// chaosHost is a worker as a process.
type chaosHost struct {
	*process
	host, dataDir string

	ambush struct {
		sync.Mutex
		armed bool
		delay time.Duration
	}
}

// diskSize is that of each small file system, in MiB: room for the streams, of which the server uses three quarters.
const (
	jobsMiB, logsMiB, objectsMiB = 24, 64, 8
	diskMiB                      = (jobsMiB + logsMiB + objectsMiB) * 3 / 2
)

// newChaos starts the fleet, for clients of that pace.
func newChaos(t *testing.T, long bool, p pace) *chaos {
	t.Helper()
	size := 1
	if long {
		size = 5
	}
	lease := 2 * time.Second
	if long {
		lease = 15 * time.Second // the default
	}
	f := newFleet(t,
		"NETLAB_BUS_LEASE="+lease.String(),
		fmt.Sprintf("NETLAB_BUS_JOBS_BYTES=%dMiB", size*jobsMiB),
		fmt.Sprintf("NETLAB_BUS_LOGS_BYTES=%dMiB", size*logsMiB),
		fmt.Sprintf("NETLAB_BUS_OBJECTS_BYTES=%dMiB", size*objectsMiB))
	logs, err := os.MkdirTemp("", "netlab-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{
		t: t, f: f, long: long, begin: time.Now(), logs: logs, tally: f.path("tally"),
		links: map[string]*link{}, disks: map[string]string{}, fullTimes: map[string][]span{}, cut: map[string]time.Time{},
	}
	t.Cleanup(func() {
		if !t.Failed() && !long {
			_ = os.RemoveAll(logs)
		}
	})
	folder := binaries
	if long {
		folder = raced(t)
	}
	c.small("server", f.path("nats"), size*diskMiB)
	c.small("api-two", f.path("two"), diskMiB)
	c.small("worker-alpha", f.path("worker-alpha"), diskMiB)
	c.prepareLabs(p.shared)
	c.observer = newLink(t)
	f.port = "-1" // a free one, another one at each start
	c.bus = c.process("server", filepath.Join(binaries, "nats-server"), nil, "-c", f.serverConfig())
	c.startServer()
	for _, host := range []string{"alpha", "beta", "gamma"} {
		dir := f.path("worker-" + host)
		env := append(f.environment("home-"+host), "NETLAB_WORKER_DATA_DIR="+dir, "NETLAB_WORKER_HOST="+host, "NETLAB_WORKER_LABELS=name="+host)
		c.hosts = append(c.hosts, &chaosHost{process: c.linked("worker-"+host, filepath.Join(folder, "netlab-worker"), env), host: host, dataDir: dir})
	}
	for i, name := range []string{"one", "two"} {
		a := &chaosAPI{process: c.linked("api-"+name, filepath.Join(folder, "netlab-api"), f.apiEnvironment(name)), number: i, dataDir: f.path(name)}
		c.apis = append(c.apis, a)
	}
	for _, h := range c.hosts {
		h.start()
	}
	for _, a := range c.apis {
		a.start()
		a.locate()
	}
	return c
}

// raced builds the programs with the race detector, which needs a C compiler: without one they are those that there are.
func raced(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, pkg := range map[string]string{"netlab-api": "netlab-runner/cmd/api", "netlab-worker": "netlab-runner/cmd/worker", "netlab-graph": "netlab-runner/cmd/graph"} {
		if output, err := exec.Command("go", "build", "-race", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			t.Logf("without the race detector: %v\n%s", err, output)
			return binaries
		}
	}
	return dir
}

// small makes a folder a file system of its own, that can be filled, where the test may do that.
func (c *chaos) small(name, dir string, mib int) {
	c.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", mib)); err != nil {
		if asroot.Required() {
			c.t.Fatalf("%s cannot be a file system of its own: %v", dir, err)
		}
		c.t.Logf("no disk is ever full: %s cannot be a file system of its own: %v", dir, err)
		return
	}
	c.disks[name] = dir
	// At once even if a process that nobody knows of has a file open there.
	c.t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// process makes a process, that ends with the test at the latest.
func (c *chaos) process(name, binary string, env []string, args ...string) *process {
	p := &process{c: c, name: name, binary: binary, env: env, args: args}
	c.t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
	})
	return p
}

// linked makes the process of a program that reaches the bus by a link of its own.
func (c *chaos) linked(name, binary string, env []string) *process {
	l := newLink(c.t)
	l.leadTo(c.server)
	c.links[name] = l
	// The last one counts.
	return c.process(name, binary, append(env, "NETLAB_BUS_URL="+l.url(), "GORACE=halt_on_error=0"))
}

// startServer starts the bus and has every link lead to it.
func (c *chaos) startServer() {
	c.t.Helper()
	c.bus.start()
	m := c.bus.expect(`Listening for client connections on (\S+)`)
	if m == nil {
		c.t.Fatal("no bus")
	}
	c.server = m[1]
	c.observer.leadTo(c.server)
	for _, l := range c.links {
		l.leadTo(c.server)
	}
}

// locate finds out where the present start of the API listens.
func (a *chaosAPI) locate() {
	if m := a.expect(`msg=listening address=(\S+)`); m != nil {
		start, _ := a.present()
		a.base.Store(&address{"http://" + m[1], start})
	}
}

// program is the process of that name.
func (c *chaos) program(name string) *process {
	if name == c.bus.name {
		return c.bus
	}
	for _, a := range c.apis {
		if a.name == name {
			return a.process
		}
	}
	for _, h := range c.hosts {
		if h.name == name {
			return h.process
		}
	}
	c.t.Fatalf("no program %q", name)
	return nil
}

// restart starts a program that has ended.
func (c *chaos) restart(name string) {
	c.t.Helper()
	if name == c.bus.name {
		c.startServer()
		return
	}
	c.program(name).start()
	for _, a := range c.apis {
		if a.name == name {
			a.locate()
		}
	}
}

// tell adds a line to the story. job is the job's id, empty for none.
func (c *chaos) tell(job, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.story = append(c.story, line{time.Since(c.begin), job, fmt.Sprintf(format, args...)})
}

// find takes in that something is not as it was promised.
func (c *chaos) find(invariant, job, format string, args ...any) {
	c.tell(job, "FOUND "+invariant+": "+format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = append(c.findings, finding{invariant, job, fmt.Sprintf(format, args...)})
}

// sleep waits, and says whether the time has come before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// lastLines are the last lines of a file, for a message.
func lastLines(file string, n int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], " | ")
}
