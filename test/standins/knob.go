package standins

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Knob changes what a step does. The zero Knob changes nothing.
type Knob struct {
	// Match restricts the knob to calls whose command line contains it.
	Match string `json:"match,omitempty"`
	// Times is for how many calls the knob is good. Without it, for all.
	Times int `json:"times,omitempty"`
	// Ignore names signals that the program ignores: "INT", "TERM".
	Ignore []string `json:"ignore,omitempty"`
	// Lines is how many lines are written to standard error.
	Lines int `json:"lines,omitempty"`
	// Gate is a gate's name (see Standins.Gate), at which the program waits.
	Gate string `json:"gate,omitempty"`
	// Sleep is how long the program takes, in seconds; a deployment takes it when its containers are created but
	// do not run yet.
	Sleep float64 `json:"sleep,omitempty"`
	// Stderr is written to standard error.
	Stderr string `json:"stderr,omitempty"`
	// Stdout, if set, is printed instead of all that the program would do and print.
	Stdout *string `json:"stdout,omitempty"`
	// Fail is the exit code with which the program ends, with nothing done but Partial. 0: it goes on.
	Fail int `json:"fail,omitempty"`
	// Partial is for how many nodes a deployment that fails or sleeps has started containers before, and of how
	// many a failing destruction removes them.
	Partial int `json:"partial,omitempty"`
	// Late is how many seconds after an interrupt the containers of a deployment come up nonetheless. Without it
	// they stay created.
	Late float64 `json:"late,omitempty"`
}

// SetKnob sets the knobs of a step ("containerlab deploy"); a call takes the first that matches and is not used up.
// Without knobs the step does its work again.
func (s *Standins) SetKnob(step string, knobs ...Knob) {
	s.t.Helper()
	// Stand-ins count down "times" in the same file.
	lock, err := os.OpenFile(filepath.Join(s.dir, "state.json.lock"), os.O_RDWR|os.O_CREATE, 0o666)
	s.check(err)
	defer lock.Close()
	s.check(lock.Chmod(0o666))
	s.check(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))

	steps := map[string]json.RawMessage{}
	s.read("knobs.json", &steps)
	steps[step], err = json.Marshal(knobs)
	s.check(err)
	if len(knobs) == 0 {
		delete(steps, step)
	}
	text, err := json.MarshalIndent(steps, "", " ")
	s.check(err)
	name := filepath.Join(s.dir, "knobs.json")
	s.check(os.WriteFile(name+".new", text, 0o666))
	s.check(os.Chmod(name+".new", 0o666))
	s.check(os.Rename(name+".new", name))
}

// Gate is a point at which a stand-in (Knob.Gate) or the sample lab chatter waits until the test lets it go on.
type Gate struct {
	s    *Standins
	path string
}

// Gate returns the gate of that name in the folder Dir.
func (s *Standins) Gate(name string) *Gate { return &Gate{s: s, path: filepath.Join(s.dir, name)} }

// GateAt returns the gate whose path is elsewhere: that of a chatter lab, which does not know Dir.
func (s *Standins) GateAt(path string) *Gate { return &Gate{s: s, path: path} }

// Path is the file whose existence opens the gate.
func (g *Gate) Path() string { return g.path }

// Await returns when a program has reached the gate, and ends the test if none does within the time.
func (g *Gate) Await(limit time.Duration) {
	g.s.t.Helper()
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		if _, err := os.Stat(g.path + ".reached"); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	g.s.t.Fatalf("stand-ins: nothing reached the gate %s within %v; calls so far: %v",
		filepath.Base(g.path), limit, g.s.Calls())
}

// Open lets the programs at the gate, and all that come, go on.
func (g *Gate) Open() {
	g.s.t.Helper()
	g.s.check(os.WriteFile(g.path, nil, 0o666))
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
