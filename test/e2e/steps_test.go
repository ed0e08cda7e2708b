package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// wiredHost is a host whose worker talks to the bus over a wire.
type wiredHost struct {
	*fleet
	name   string
	wire   *wire
	worker *program
	// todo is what watchers of the wire leave for the test itself to do.
	todo chan func()
}

func (f *fleet) wiredHost(name string) *wiredHost {
	f.t.Helper()
	h := &wiredHost{fleet: f, name: name, wire: newWire(f.t, strings.TrimPrefix(f.busURL, "nats://")), todo: make(chan func(), 1)}
	h.startWorker()
	f.any().awaitHost(f.t, name)
	return h
}

func (h *wiredHost) startWorker() {
	h.t.Helper()
	// Its messages come when it is known here.
	h.wire.watching.Lock()
	defer h.wire.watching.Unlock()
	h.worker = launch(h.t, "netlab-worker", append(h.environment("home-"+h.name),
		"NETLAB_WORKER_DATA_DIR="+h.path("worker-"+h.name), "NETLAB_WORKER_HOST="+h.name, "NETLAB_BUS_URL="+h.wire.url()))
}

// attend does what was left to do.
func (h *wiredHost) attend() {
	select {
	case do := <-h.todo:
		do()
	default:
	}
}

// course is the way of one job on a wired host. Each message of the job that the worker publishes has a name: its kind and a
// number, counted anew where the job waits at its gate.
type course struct {
	*wiredHost
	t   *testing.T
	dir string
	job jobs.Job
	// cancels is a job that is canceled at its gate. Else the gate is opened.
	cancels bool

	mu    sync.Mutex
	stage string
	count map[string]int
	names map[*frame]string
	order []string
}

func (h *wiredHost) course(t *testing.T, name string, cancels bool) *course {
	t.Helper()
	return &course{
		wiredHost: h, t: t, dir: h.chatter(name, object{"lines": 3, "gate": "gate"}), cancels: cancels,
		count: map[string]int{}, names: map[*frame]string{},
	}
}

// nameOf is the name of a message of the job, "" for all else that a worker publishes.
func (c *course) nameOf(m *frame) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, known := c.names[m]; known {
		return name
	}
	kind := kindOf(m)
	if kind == "" {
		return ""
	}
	kind = strings.TrimSpace(c.stage + " " + kind)
	c.count[kind]++
	c.names[m] = fmt.Sprintf("%s %d", kind, c.count[kind])
	c.order = append(c.order, c.names[m])
	return c.names[m]
}

func kindOf(m *frame) string {
	kind := m.subject[strings.LastIndexByte(m.subject, '.')+1:]
	var job jobs.Job
	switch {
	case strings.HasPrefix(m.subject, "$JS.ACK."):
		return "acknowledgement"
	case strings.HasPrefix(m.subject, "netlab.put."):
		return "kept"
	case !strings.HasPrefix(m.subject, "netlab.in."):
		return ""
	case kind != "status":
		return kind
	case json.Unmarshal(m.payload, &job) != nil:
		return "unreadable"
	case job.State != jobs.Running:
		return "end"
	}
	return cmp.Or(job.Phase, "claim")
}

// run sees the job through, past its gate or to the point where it is canceled, until its worker has forgotten it.
func (c *course) run() {
	c.t.Helper()
	a := c.any()
	c.job = a.submit(c.t, object{"action": "create", "workdir": c.dir, "host": c.name})
	journal := c.path("worker-"+c.name, "jobs")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		c.attend()
		if c.stage == "" && exists(c.t, c.dir, "gate.reached") {
			c.pass()
		}
		if a.get(c.t, "/jobs/"+c.job.ID, &c.job); !c.job.State.Terminal() {
			continue
		}
		if left, err := os.ReadDir(journal); err != nil {
			c.t.Fatal(err)
		} else if len(left) == 0 {
			return
		}
	}
	c.t.Fatalf("the job or its worker's journal never ended: %+v, messages %q", c.job, c.order)
}

// pass takes the job past its gate.
func (c *course) pass() {
	c.t.Helper()
	// The journal's entry goes with the job.
	if err := os.Link(c.path("worker-"+c.name, "jobs", c.job.ID, "output"), c.path("output-"+c.job.ID)); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.stage = map[bool]string{false: "behind the gate", true: "canceled"}[c.cancels]
	c.mu.Unlock()
	if c.cancels {
		c.any().cancel(c.t, c.job.ID)
		return
	}
	openGate(c.t, c.dir)
}

// check holds the job to what a worker that nothing happened to makes of it.
func (c *course) check() {
	c.t.Helper()
	want := map[bool]jobs.State{false: jobs.Success, true: jobs.Canceled}[c.cancels]
	ended, log := c.any().finish(c.t, c.job.ID)
	if ended.State != want {
		c.t.Errorf("%s, want %s; error %s", ended.State, want, text(ended.Error))
	}
	if n := startsOf(log); n != 1 {
		c.t.Errorf("Netlab was started %d times:\n%s", n, log)
	}
	written, err := os.ReadFile(c.path("output-" + c.job.ID))
	if err != nil {
		c.t.Fatal(err)
	}
	for what, got := range map[string]string{"the bus has": c.busLog(c.t, ended.ID), "Netlab and the worker wrote": string(written)} {
		if got != log {
			c.t.Errorf("%s\n%s\nHTTP gives\n%s", what, got, log)
		}
	}
	if _, kept := c.any().artifacts(c.t, ended.ID); len(kept) != 1 {
		c.t.Errorf("kept: %q", kept)
	}
	checkHistory(c.t, c.history(ended.ID))
	if !exists(c.t, c.path("worker-"+c.name, "ended"), ended.ID+".json") {
		c.t.Error("the host has not noted the end")
	}
	if left := processesOf(ended.ID); len(left) > 0 {
		c.t.Errorf("left running: %q", left)
	}
}

// history is all that the stream has of a job's states, the oldest first.
func (f *fleet) history(id string) (states []jobs.Job) {
	f.t.Helper()
	js, err := jetstream.New(f.connect(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, "NETLAB_JOBS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"netlab.jobs.*." + id + ".status"}})
	if err != nil {
		f.t.Fatal(err)
	}
	for left := consumer.CachedInfo().NumPending; left > 0; left-- {
		m, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			f.t.Fatal(err)
		}
		var job jobs.Job
		if err := json.Unmarshal(m.Data(), &job); err != nil {
			f.t.Fatal(err)
		}
		states = append(states, job)
	}
	return states
}

// checkHistory wants one claim at the beginning, one end at the end, and between them the run that was claimed.
func checkHistory(t *testing.T, states []jobs.Job) {
	t.Helper()
	for i, job := range states {
		isClaim := job.State == jobs.Running && job.Phase == "" && !job.CancelRequested
		if isClaim != (i == 0) || job.State.Terminal() != (i == len(states)-1) || job.StartedAt == nil || !job.StartedAt.Equal(*states[0].StartedAt) {
			t.Errorf("state %d of %d: %s, phase %q, started at %v", i+1, len(states), job.State, job.Phase, job.StartedAt)
		}
	}
}

// awaitHost waits until the API sees the host, awaitOffline until it does not.
func (a *api) awaitHost(t *testing.T, name string)    { t.Helper(); a.awaitOnline(t, name, true) }
func (a *api) awaitOffline(t *testing.T, name string) { t.Helper(); a.awaitOnline(t, name, false) }

func (a *api) awaitOnline(t *testing.T, name string, want bool) {
	t.Helper()
	a.awaitHosts(t, func(list []hosts.Host) bool {
		return want == slices.ContainsFunc(list, func(h hosts.Host) bool { return h.Name == name && h.Online })
	})
}

func (a *api) awaitHosts(t *testing.T, ok func([]hosts.Host) bool) {
	t.Helper()
	var list struct {
		Hosts []hosts.Host `json:"hosts"`
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		list.Hosts = nil
		if a.get(t, "/hosts", &list); ok(list.Hosts) {
			return
		}
	}
	t.Fatalf("the hosts never became what is waited for: %+v", list.Hosts)
}

// stepFleet is a server and an API, for workers of courses.
func stepFleet(t *testing.T, extra ...string) *fleet {
	t.Helper()
	f := newFleet(t, append([]string{"NETLAB_API_KEEP=topology.yml"}, extra...)...)
	f.port = freePort(t)
	f.busURL = "nats://127.0.0.1:" + f.port
	f.startServer()
	f.startAPI(f.apiEnvironment("api")).awaitReady(0)
	return f
}

// alwaysSaid are messages that every job has, canceled or not: what a job says besides may depend on how fast the machine is.
var alwaysSaid = map[bool][]string{
	false: {
		"acknowledgement 1", "claim 1", "log 1", "Transforming the lab topology 1", "behind the gate log 1", "behind the gate kept 1",
		"behind the gate kept 2", "behind the gate end 1",
	},
	true: {"canceled log 1", "canceled kept 1", "canceled kept 2", "canceled end 1"},
}

// messagesOf are the names of the messages of a job that nothing happens to, from its gate on where it is one that cancels. Of log
// chunks in a row the first two stand for all: how many there are is a matter of chance.
func messagesOf(t *testing.T, h *wiredHost, name string, cancels bool) (names []string) {
	t.Helper()
	model := h.course(t, name, cancels)
	h.wire.setWatch(func(_ moment, m *frame) bool { model.nameOf(m); return false })
	model.run()
	h.wire.setWatch(nil)
	model.check()
	for _, name := range model.order {
		isFirst := strings.HasSuffix(name, " 1") || strings.HasSuffix(name, " 2")
		if cancels == strings.HasPrefix(name, "canceled ") && isFirst {
			names = append(names, name)
		}
	}
	for _, always := range alwaysSaid[cancels] {
		if !slices.Contains(names, always) {
			t.Fatalf("the message %q is not among %q", always, model.order)
		}
	}
	return names
}

// At each message that a worker publishes for a job, it is killed before the message arrives, and the next worker when its own
// first message has arrived and the answer has not. A third one takes the job to the end that it truly has. At the end itself, behind which the
// worker has something left to do, one is killed when that has arrived, too.
func TestWorkerIsKilledAtEachMessage(t *testing.T) {
	t.Parallel()
	// Most workers that are started here have no run to begin.
	f := stepFleet(t, coldRuns)
	// A host is used again, since a worker costs a start of Python.
	free := make(chan *wiredHost, 100)
	free <- f.wiredHost("model")
	var made atomic.Int32
	for _, cancels := range []bool{false, true} {
		model := <-free
		names := messagesOf(t, model, fmt.Sprintf("model-%t", cancels), cancels)
		free <- model
		type step struct {
			name string
			at   moment
		}
		var steps []step
		for _, name := range names {
			steps = append(steps, step{name, before})
			if strings.HasSuffix(name, "end 1") {
				steps = append(steps, step{name, answered})
			}
		}
		for i, s := range steps {
			t.Run(s.name+" "+string(s.at), func(t *testing.T) {
				t.Parallel()
				var h *wiredHost
				select {
				case h = <-free:
				default:
					h = f.wiredHost(fmt.Sprintf("host%d", made.Add(1)))
				}
				// Whether there is a second chunk of log, say, is a matter of chance.
				for try := 1; !h.killAt(t, h.course(t, fmt.Sprintf("step%d-%t-%d", i, cancels, try), cancels), s.name, s.at); try++ {
					if try == triesOfAStep {
						t.Fatalf("in none of %d jobs there was the message", try)
					}
				}
				// A request that was not acknowledged comes once more, and would be taken for that of the next job.
				if !t.Failed() && !strings.HasPrefix(s.name, "acknowledgement") {
					free <- h
				}
			})
		}
	}
}

// triesOfAStep is how many jobs are looked through for a message that not every job has.
const triesOfAStep = 5

// killAt takes a job through its course, and says whether there was the message of that name.
func (h *wiredHost) killAt(t *testing.T, c *course, name string, when moment) bool {
	t.Helper()
	killed := 0
	h.wire.setWatch(func(at moment, m *frame) bool {
		got := c.nameOf(m)
		first := killed == 0 && at == when && got == name
		second := killed == 1 && at == answered && got != ""
		if !first && !second {
			return false
		}
		killed++
		h.worker.kill()
		h.wire.forget()
		h.todo <- h.startWorker
		return true
	})
	c.run()
	h.wire.setWatch(nil)
	c.check()
	if killed == 1 {
		t.Error("the second worker has published nothing")
	}
	return killed > 0
}

// bothCourses runs a test of a job that succeeds, and one of a job that is canceled: there it is the messages behind its cancel that count.
func bothCourses(t *testing.T, test func(t *testing.T, c *course, counts func(name string) bool)) {
	t.Helper()
	f := stepFleet(t)
	for _, cancels := range []bool{false, true} {
		name := map[bool]string{false: "to its end", true: "canceled"}[cancels]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := f.wiredHost(fmt.Sprintf("alpha-%t", cancels)).course(t, fmt.Sprintf("lab-%t", cancels), cancels)
			test(t, c, func(name string) bool { return name != "" && cancels == strings.HasPrefix(name, "canceled ") })
		})
	}
}

// One worker after the other is told to stop, at each kind of message of a job: before one arrives, and when its answer is lost.
// Each of them ends in order.
func TestWorkerIsStoppedAtEachMessage(t *testing.T) {
	t.Parallel()
	bothCourses(t, func(t *testing.T, c *course, counts func(name string) bool) {
		stops := map[string]bool{}
		for try := 1; ; try++ {
			c.wire.setWatch(func(at moment, m *frame) bool {
				point := kindOf(m) + " " + string(at)
				if !counts(c.nameOf(m)) || stops[point] {
					return false
				}
				stops[point] = true
				_ = c.worker.cmd.Process.Signal(syscall.SIGTERM)
				c.wire.forget()
				c.todo <- func() {
					c.worker.endsInOrder()
					c.startWorker()
				}
				return true
			})
			c.run()
			c.wire.setWatch(nil)
			c.check()
			missed := slices.DeleteFunc(c.kindsAlwaysSaid(), func(kind string) bool { return stops[kind+" "+string(before)] })
			if len(missed) == 0 {
				break
			}
			if try == triesOfAStep {
				t.Errorf("not stopped at %q, but at %v, of %q", missed, stops, c.order)
				break
			}
			// Until the signal has reached it a worker may have said all that was left: the next job has it once more.
			c = c.course(t, fmt.Sprintf("lab-%t-%d", c.cancels, try), c.cancels)
		}
		// Whether there is one more message of a kind, whose answer may be lost, is a matter of chance at times.
		if least := map[bool]int{false: 10, true: 4}[c.cancels]; len(stops) < least {
			t.Errorf("stopped at %v, of %q", stops, c.order)
		}
	})
}

// kindsAlwaysSaid are kinds of messages that the job has whatever happens to its workers, see kindOf.
func (c *course) kindsAlwaysSaid() []string {
	if c.cancels {
		return []string{"log", "kept", "end"}
	}
	return []string{"claim", "log", "kept", "end"}
}

// endsInOrder waits for the end of a worker that was told to stop, which is no failure.
func (p *program) endsInOrder() {
	p.t.Helper()
	p.awaitEnd()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended with exit code %d", p, code)
	}
}

// A worker is frozen at one message of each kind, longer than its lease lasts, and goes on as if nothing had been.
func TestWorkerIsFrozenAtEachMessage(t *testing.T) {
	t.Parallel()
	bothCourses(t, func(t *testing.T, c *course, counts func(name string) bool) {
		moments := []moment{before, answered}
		kinds := map[string]moment{} // and at which moment of its first message the worker was frozen
		c.wire.setWatch(func(at moment, m *frame) bool {
			kind := kindOf(m)
			if _, was := kinds[kind]; !counts(c.nameOf(m)) || was || at != moments[len(kinds)%2] {
				return false
			}
			kinds[kind] = at
			_ = c.worker.cmd.Process.Signal(syscall.SIGSTOP)
			thawed := make(chan struct{})
			c.todo <- func() {
				c.any().awaitOffline(t, c.name)
				_ = c.worker.cmd.Process.Signal(syscall.SIGCONT)
				close(thawed)
			}
			<-thawed
			return false
		})
		c.run()
		c.wire.setWatch(nil)
		c.check()
		for _, kind := range c.kindsAlwaysSaid() {
			if _, was := kinds[kind]; !was {
				t.Errorf("not frozen at %q, but at %v, of %q", kind, kinds, c.order)
			}
		}
		select {
		case <-c.worker.done:
			t.Error("the worker has ended")
		default:
		}
	})
}

// A run of two commands goes from the first to the second while no worker is there: it was killed, told to stop, or is frozen.
func TestWorkerIsGoneBetweenTwoCommands(t *testing.T) {
	t.Parallel()
	h := stepFleet(t).wiredHost("alpha")
	a, dir := h.any(), h.lab("two", "linux2")
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir, "host": h.name})
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := h.worker.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name          string
		leaves, comes func()
	}{
		{"killed", func() { h.worker.kill() }, h.startWorker},
		{"stopped", func() { signal(syscall.SIGTERM); h.worker.endsInOrder() }, h.startWorker},
		{"frozen", func() { signal(syscall.SIGSTOP); a.awaitOffline(t, h.name) }, func() { signal(syscall.SIGCONT) }},
	} {
		destroys, deploys := len(h.standins.Calls("containerlab destroy")), len(h.standins.Calls("containerlab deploy"))
		down, up := h.standins.Gate("down-"+way.name), h.standins.Gate("up-"+way.name)
		h.standins.SetKnob("containerlab destroy", standins.Knob{Gate: "down-" + way.name})
		h.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "up-" + way.name})
		job := a.submit(t, object{"action": "restart", "workdir": dir, "host": h.name})
		down.Await(patience)
		way.leaves()
		down.Open()
		up.Await(patience)
		way.comes()
		up.Open()
		ended, log := a.finish(t, job.ID)
		if ended.State != jobs.Success {
			t.Fatalf("%s: %s: %s\n%s", way.name, ended.State, text(ended.Error), log)
		}
		if n, m := len(h.standins.Calls("containerlab destroy"))-destroys, len(h.standins.Calls("containerlab deploy"))-deploys; n != 1 || m != 1 {
			t.Errorf("%s: taken down %d times, started %d times", way.name, n, m)
		}
		if got := h.busLog(t, job.ID); got != log {
			t.Errorf("%s: the bus has\n%s\nHTTP gives\n%s", way.name, got, log)
		}
		checkHistory(t, h.history(job.ID))
		h.awaitEmptyJournal(h.path("worker-alpha", "jobs"))
	}
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
}
