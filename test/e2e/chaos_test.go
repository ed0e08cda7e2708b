package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// shortSeed is that of the short form, with every kind of fault in it.
	shortSeed = 1
	// shortStorm is how long faults go on unless NETLAB_TEST_CHAOS says otherwise.
	shortStorm = 75 * time.Second
	// calm is how long the fleet may take to come to rest when the faults are over.
	calm = 2 * time.Minute
)

// Real programs run jobs of real Netlab, clients submit, follow, cancel and repeat, and whatever can go wrong with a process, a
// link or a disk does, by a seed that is printed. In the end everything that was promised is held to what the clients saw, what the
// bus has, and the hosts' own files.
//
// NETLAB_TEST_CHAOS is how long faults go on, NETLAB_TEST_SEED the seed. With the same seed the faults and the clients' choices are
// the same, not the moments at which they meet.
func TestChaos(t *testing.T) {
	t.Parallel()
	// The short one is the same each time: what a new one finds is not for whoever has changed something else.
	duration, seed, long := shortStorm, uint64(shortSeed), false
	var err error
	if s := os.Getenv("NETLAB_TEST_CHAOS"); s != "" {
		seed, long = uint64(time.Now().UnixNano()), true
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("NETLAB_TEST_CHAOS: %v", err)
		}
	}
	if s := os.Getenv("NETLAB_TEST_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("NETLAB_TEST_SEED: %v", err)
		}
	}
	t.Logf("NETLAB_TEST_CHAOS=%v NETLAB_TEST_SEED=%d", duration, seed)
	p, scale := shortPace, shortFaults
	if long {
		p, scale = longPace, 1
	}
	c := newChaos(t, long, p)
	faults := drawFaults(rand.New(rand.NewPCG(seed, 0)), duration, scale, c.possible)
	e, customers := c.run(seed, duration, faults, p)
	c.findings = append(c.findings, e.check()...)
	c.leftOver(e)
	c.report(seed, e)
	ended := map[string]int{}
	for _, r := range e.jobs {
		if last := r.last(); last != nil {
			ended[string(last.State)]++
		}
	}
	t.Logf("%d faults, %d jobs %v, %d commands of Netlab, %d messages seen by a subscriber, %d clients; %s",
		len(faults), len(e.jobs), ended, len(e.tally), len(e.seen), len(customers), c.usage())
}

// run has clients work while the faults happen, and gathers what there is to know when all has come to rest.
func (c *chaos) run(seed uint64, duration time.Duration, faults []fault, p pace) (*evidence, []*customer) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	open, shut := context.WithTimeout(ctx, duration)
	defer shut()
	if c.long {
		// An interrupt ends the storm: what has happened so far is looked at, and nothing is left mounted.
		var heed func()
		open, heed = signal.NotifyContext(open, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer heed()
	}
	s := c.subscribe()
	soon, late := context.WithTimeout(ctx, patience)
	defer late()
	k := newAsker(c, "the beginning")
	for _, a := range c.apis {
		if !c.ready(soon, k, a) {
			c.t.Fatal(c.findings)
		}
	}
	following, enough := context.WithCancel(ctx)
	defer enough()
	heard := make(chan map[string][]told, 1)
	go func() {
		heard <- newAsker(c, "events").followJobs(following, rand.New(rand.NewPCG(seed, 1000)))
	}()
	var customers []*customer
	var working sync.WaitGroup
	for n := range p.clients {
		k := newCustomer(c, seed, n+1, p)
		customers = append(customers, k)
		working.Go(func() { k.work(ctx, open) })
	}
	c.storm(open, faults)
	c.tell("", "the faults are over")
	<-open.Done()
	defer time.AfterFunc(calm, cancel).Stop()
	c.settle(ctx)
	working.Wait()
	c.tell("", "at rest")
	// The events of what was last are told by now, or soon.
	sleep(ctx, 2*time.Second)
	enough()
	return c.gather(s, customers, <-heard), customers
}

var complaints = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE|\[signal ).*|level=ERROR msg="http: internal error".*`)

// leftOver looks for what no job and no program may leave.
func (c *chaos) leftOver(e *evidence) {
	c.t.Helper()
	for id := range e.jobs {
		if left := processesOf(id); len(left) > 0 {
			c.find(nothingLeft, id, "processes: %q", left)
		}
	}
	files, err := filepath.Glob(filepath.Join(c.logs, "*.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		if m := complaints.Find(content); m != nil {
			c.find(noComplaint, "", "%s: %s", filepath.Base(file), m)
		}
	}
	for _, p := range c.programs() {
		if n := p.handles(); n > mostHandles {
			c.find(handles, "", "%s has %d files and sockets open", p.name, n)
		}
	}
}

// mostHandles is more than a program has open with nothing to do.
const mostHandles = 150

func (c *chaos) programs() (list []*process) {
	list = append(list, c.bus)
	for _, a := range c.apis {
		list = append(list, a.process)
	}
	for _, h := range c.hosts {
		list = append(list, h.process)
	}
	return list
}

func (p *process) handles() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
	if err != nil {
		return 0 // it has ended, which is found elsewhere
	}
	return len(entries)
}

// usage is what each program has of files and memory.
func (c *chaos) usage() string {
	var list []string
	for _, p := range c.programs() {
		content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
		memory := regexp.MustCompile(`VmRSS:\s+(\d+)`).FindSubmatch(content)
		if memory == nil {
			continue
		}
		list = append(list, fmt.Sprintf("%s: %d starts, %d handles, %s kB", p.name, p.starts, p.handles(), memory[1]))
	}
	return strings.Join(list, "; ")
}

// report fails the test with what was found, the story of the jobs concerned, and where everything is.
func (c *chaos) report(seed uint64, e *evidence) {
	c.t.Helper()
	var whole strings.Builder
	for _, l := range c.story {
		fmt.Fprintln(&whole, l)
	}
	file := filepath.Join(c.logs, "story")
	if err := os.WriteFile(file, []byte(whole.String()), 0o600); err != nil {
		c.t.Error(err)
	}
	if len(c.findings) == 0 {
		return
	}
	for _, group := range byInvariant(c.findings) {
		c.t.Errorf("%d times not so: %s", len(group), group[0].invariant)
		for _, f := range group[:min(len(group), mostFindings)] {
			c.t.Logf("  %s %s", f.job, f.text)
		}
		for _, f := range group[:min(len(group), 3)] {
			if f.job != "" {
				c.t.Log(c.historyOf(f.job, e))
			}
		}
	}
	c.t.Logf("NETLAB_TEST_SEED=%d; the whole story is in %s, beside it what each start of a program wrote; its faults:", seed, file)
	for _, l := range c.story {
		if l.job == "" && (strings.HasPrefix(l.text, "begins") || strings.HasPrefix(l.text, "ends")) {
			c.t.Log(l)
		}
	}
}

// historyOf is all that happened with a job.
func (c *chaos) historyOf(id string, e *evidence) string {
	var lines []line
	for _, l := range c.story {
		if l.job == id || l.job == "" && (strings.HasPrefix(l.text, "begins") || strings.HasPrefix(l.text, "ends")) {
			lines = append(lines, l)
		}
	}
	add := func(at time.Time, format string, args ...any) {
		lines = append(lines, line{at.Sub(c.begin), id, fmt.Sprintf(format, args...)})
	}
	if r := e.jobs[id]; r != nil {
		for _, s := range r.statuses {
			add(s.at, "bus %d: %s %s by %s, log %d", s.seq, s.job.State, s.job.Phase, s.source, s.job.LogBytes)
		}
		for _, chunk := range r.chunks {
			add(chunk.at, "bus %d: log at %d, %d bytes", chunk.seq, chunk.offset, len(chunk.text))
		}
	}
	for _, l := range e.begun(id) {
		add(time.Unix(0, int64(l.Time*1e9)), "Netlab: %s %s, process %d", l.Command, l.Hook, l.PID)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(a.at - b.at) })
	// Faults long before and after it say nothing.
	first, last := -1, -1
	for i, l := range lines {
		if l.job == id {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return id + ": nothing is known of it"
	}
	var text strings.Builder
	for _, l := range lines[max(first-6, 0):min(last+2, len(lines))] {
		fmt.Fprintln(&text, l)
	}
	return text.String()
}
