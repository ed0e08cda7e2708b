package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// fault is what goes wrong with one program, and for how long. Everything of it is drawn before the first one happens.
type fault struct {
	// at is when it begins, in the time of the storm.
	at, lasts time.Duration
	kind      string
	target    string
	// delay is, of "slow", that of each direction; of "ambush", how long after the answer to a submit the worker is killed.
	delay time.Duration
}

func (f fault) String() string {
	text := fmt.Sprintf("%s %s for %s", f.kind, f.target, f.lasts)
	if f.delay > 0 {
		text += fmt.Sprintf(" (%s)", f.delay)
	}
	return text
}

// The programs of each kind.
var (
	chaosServer  = []string{"server"}
	chaosAPIs    = []string{"api-one", "api-two"}
	chaosWorkers = []string{"worker-alpha", "worker-beta", "worker-gamma"}
)

// faultKind is a kind of fault with what it may hit.
type faultKind struct {
	kind    string
	targets []string
	// weight is how often it comes in a hand.
	weight int
	// from and to bound how long it lasts, in seconds of the long form.
	from, to int
}

// faultTable is what can go wrong.
//
//	kill    SIGKILL; started again at the end
//	end     SIGTERM, as in an upgrade; started again at the end
//	freeze  SIGSTOP, at the end SIGCONT
//	cut     the link to the bus is reset, and refused
//	stall   the link to the bus passes nothing, and nobody is told
//	slow    the link to the bus is slow
//	full    the disk of its data is full
//	forget  killed, and its logs are removed before it is started again
//	ambush  killed a moment after a client was told that a job of its is accepted; started again at the end
var faultTable = []faultKind{
	{"kill", chaosWorkers, 3, 0, 15},
	{"kill", chaosAPIs, 2, 0, 15},
	{"kill", chaosServer, 1, 0, 10},
	{"end", chaosWorkers, 2, 0, 10},
	{"end", chaosAPIs, 1, 0, 10},
	{"end", chaosServer, 1, 0, 10},
	{"freeze", chaosWorkers, 2, 1, 20},
	{"freeze", chaosAPIs, 1, 1, 20},
	{"freeze", chaosServer, 1, 1, 15},
	{"cut", chaosWorkers, 2, 1, 30},
	{"cut", chaosAPIs, 2, 1, 30},
	{"stall", chaosWorkers, 2, 1, 45},
	{"stall", chaosAPIs, 2, 1, 45},
	{"slow", slices.Concat(chaosAPIs, chaosWorkers), 2, 5, 60},
	{"full", []string{"worker-alpha"}, 1, 5, 40},
	{"full", []string{"api-two"}, 1, 20, 45},
	{"full", chaosServer, 1, 10, 20},
	{"forget", chaosAPIs, 1, 0, 5},
	{"ambush", chaosWorkers, 2, 10, 20},
}

// longTable is what goes wrong besides in a storm of half an hour and more, each once, and for so long that clients, leases and links have
// given up long before.
var longTable = []faultKind{
	{"end", chaosServer, 1, 600, 600},
	{"freeze", chaosServer, 1, 60, 90},
	{"freeze", chaosWorkers, 1, 60, 180},
	{"freeze", chaosAPIs, 1, 60, 120},
	{"stall", chaosWorkers, 1, 60, 180},
	{"stall", chaosAPIs, 1, 60, 180},
	{"cut", chaosWorkers, 1, 60, 180},
	{"kill", chaosWorkers, 1, 60, 180},
}

// longStorm is how long a storm is that has them.
const longStorm = 30 * time.Minute

const (
	// shortFaults is how long faults of the short form last, as a part of what they last in the long one.
	shortFaults = 0.15
	// longestPause is the mean time between the beginnings of two faults, at most.
	longestPause = 9 * time.Second
	// together is the chance of a fault to come at the very time of the one before it.
	together = 0.15
)

// drawLong draws the long faults of a storm, spread over it.
func drawLong(r *rand.Rand, storm time.Duration) (list []fault) {
	if storm < longStorm {
		return nil
	}
	hand := slices.Clone(longTable)
	r.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
	free := map[string]time.Duration{} // from when on
	for i, k := range hand {
		f := fault{kind: k.kind, target: k.targets[r.IntN(len(k.targets))]}
		f.at = max(storm*time.Duration(i)/time.Duration(len(hand))+time.Duration(r.Int64N(int64(time.Minute))), free[f.target])
		f.lasts = min(time.Duration(k.from+r.IntN(k.to-k.from+1))*time.Second, storm-f.at)
		free[f.target] = f.at + f.lasts + time.Minute
		if f.lasts > 0 {
			list = append(list, f)
		}
	}
	return list
}

// meets says whether the fault is there between two moments, or near them.
func (f fault) meets(from, to time.Duration) bool {
	return f.at < to+longestPause && f.at+f.lasts+longestPause > from
}

// drawFaults draws the faults of a storm. The first hand has every kind once, so that also a short storm has them all. A program
// has one fault at a time, and none is longer than the storm. can says whether a fault is possible here.
func drawFaults(r *rand.Rand, storm time.Duration, scale float64, can func(kind, target string) bool) (list []fault) {
	long := drawLong(r, storm)
	defer func() {
		list = append(list, long...)
		slices.SortStableFunc(list, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	}()
	hand := slices.Clone(faultTable)
	shuffle := func() { r.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] }) }
	shuffle()
	pause := min(storm/time.Duration(len(faultTable)+2), longestPause)
	free := map[string]time.Duration{} // from when on
	for at := pause / 2; at < storm; {
		if len(hand) == 0 {
			for _, k := range faultTable {
				hand = append(hand, slices.Repeat([]faultKind{k}, k.weight)...)
			}
			shuffle()
		}
		k := hand[0]
		hand = hand[1:]
		targets := slices.DeleteFunc(slices.Clone(k.targets), func(target string) bool { return !can(k.kind, target) })
		if len(targets) == 0 {
			continue
		}
		r.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		latest := at + time.Duration(scale*float64(k.to)*float64(time.Second))
		next := slices.IndexFunc(targets, func(target string) bool {
			return free[target] <= at && !slices.ContainsFunc(long, func(f fault) bool { return f.target == target && f.meets(at, latest) })
		})
		if next < 0 { // later
			hand = append(hand, k)
			at += pause / 4
			continue
		}
		f := fault{at: at, kind: k.kind, target: targets[next]}
		seconds := scale * (float64(k.from) + r.Float64()*float64(k.to-k.from))
		f.lasts = min(max(time.Duration(seconds*float64(time.Second)), 300*time.Millisecond), storm-at).Truncate(time.Millisecond)
		switch f.kind {
		case "slow":
			f.delay = time.Duration(10+r.IntN(390)) * time.Millisecond
		case "ambush":
			f.delay = time.Duration(r.IntN(60)) * time.Millisecond
		}
		free[f.target] = at + f.lasts + pause/2
		list = append(list, f)
		if r.Float64() > together {
			at += time.Duration((0.5 + r.Float64()) * float64(pause))
		}
	}
	return list
}

// possible says whether a fault can be made here: only a file system of its own can be filled.
func (c *chaos) possible(kind, target string) bool { return kind != "full" || c.disks[target] != "" }

// storm makes the faults happen, each at its time, and lifts each. It returns when the last one is lifted; at the end of ctx it
// lifts those that are left.
func (c *chaos) storm(ctx context.Context, faults []fault) {
	c.t.Helper()
	type moment struct {
		at    time.Duration
		fault int
		ends  bool
	}
	var moments []moment
	for i, f := range faults {
		moments = append(moments, moment{f.at, i, false}, moment{f.at + f.lasts, i, true})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	begun := map[int]bool{}
	begin := time.Now()
	for _, m := range moments {
		f := faults[m.fault]
		onTime := sleep(ctx, m.at-time.Since(begin))
		switch {
		case m.ends && begun[m.fault]:
			c.tell("", "ends: %s", f)
			c.lift(f)
		case !m.ends && onTime:
			c.tell("", "begins: %s", f)
			c.strike(f)
			begun[m.fault] = true
		}
	}
}

func (c *chaos) strike(f fault) {
	c.t.Helper()
	p, l := c.program(f.target), c.links[f.target]
	switch f.kind {
	case "kill", "forget":
		p.kill()
	case "end":
		p.terminate()
	case "freeze":
		p.freeze()
	case "cut":
		l.breakUp()
		c.cutOff(f.target, true)
	case "stall":
		l.stall()
	case "slow":
		l.slow(f.delay)
	case "full":
		c.fill(f.target)
	case "ambush":
		c.host(f.target).arm(f.delay)
	}
}

func (c *chaos) lift(f fault) {
	c.t.Helper()
	p, l := c.program(f.target), c.links[f.target]
	switch f.kind {
	case "kill":
		c.restart(f.target)
	case "end":
		p.ended()
		c.restart(f.target)
	case "freeze":
		p.thaw()
	case "cut", "stall", "slow":
		l.mend()
		c.cutOff(f.target, false)
	case "full":
		c.empty(f.target)
	case "forget":
		for _, a := range c.apis {
			if a.name == f.target {
				if err := os.RemoveAll(filepath.Join(a.dataDir, "logs")); err != nil {
					c.t.Fatal(err)
				}
			}
		}
		c.restart(f.target)
	case "ambush":
		h := c.host(f.target)
		if h.disarm() {
			h.kill() // nobody came
		}
		<-h.end()
		c.restart(f.target)
	}
}

// cutKnown is how long a way may be cut before its program knows.
const cutKnown = 500 * time.Millisecond

// cutOff notes whether the way of a program is cut.
func (c *chaos) cutOff(name string, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cut, name)
	if cut {
		c.cut[name] = time.Now()
	}
}

// cutFor is for how long the way of a program has been cut, 0 where it is not.
func (c *chaos) cutFor(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since, cut := c.cut[name]; cut {
		return time.Since(since)
	}
	return 0
}

func ballast(dir string) string { return filepath.Join(dir, "ballast") }

// fill leaves no room on the disk of a program.
func (c *chaos) fill(name string) {
	c.t.Helper()
	c.mu.Lock()
	c.fullTimes[name] = append(c.fullTimes[name], span{begin: time.Now()})
	c.mu.Unlock()
	file, err := os.Create(ballast(c.disks[name]))
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // what is left of the last one
		} else if err != nil {
			c.t.Fatal(err)
		}
	}
}

// empty makes room again. A server whose disk was full has turned JetStream off until it is started anew: that is its own way, and
// an operator's to mend. All others have to go on by themselves.
func (c *chaos) empty(name string) {
	c.t.Helper()
	if err := os.Remove(ballast(c.disks[name])); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	times := c.fullTimes[name]
	times[len(times)-1].end = time.Now()
	c.mu.Unlock()
	if p := c.program(name); p == c.bus {
		p.terminate()
		p.ended()
		c.restart(name)
	}
}

func (c *chaos) host(name string) *chaosHost {
	for _, h := range c.hosts {
		if h.name == name || h.host == name {
			return h
		}
	}
	c.t.Fatalf("no host %q", name)
	return nil
}

// arm has the worker killed after the next job that it is to run was accepted.
func (h *chaosHost) arm(delay time.Duration) {
	h.ambush.Lock()
	defer h.ambush.Unlock()
	h.ambush.armed, h.ambush.delay = true, delay
}

// disarm says whether the ambush was still set.
func (h *chaosHost) disarm() bool {
	h.ambush.Lock()
	defer h.ambush.Unlock()
	armed := h.ambush.armed
	h.ambush.armed = false
	return armed
}

// accepted is told of each job that is accepted for the host.
func (h *chaosHost) accepted(id string) {
	h.ambush.Lock()
	delay := h.ambush.delay
	h.ambush.Unlock()
	if h.disarm() {
		h.c.tell(id, "ambush of %s", h.name)
		time.Sleep(delay)
		h.kill()
	}
}
