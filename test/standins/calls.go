package standins

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Call is one run of a stand-in.
type Call struct {
	Argv []string `json:"argv"` // the program's name first
	// Step is the words that name the command, without options and operands: "containerlab deploy",
	// "docker image ls", "sudo ip link add".
	Step string            `json:"step"`
	Cwd  string            `json:"cwd"`
	Pid  int               `json:"pid"`
	Ppid int               `json:"ppid"`
	Env  map[string]string `json:"env"`  // HOME and USER, where set
	Time float64           `json:"time"` // of the start, seconds since 1970
}

// Calls are all runs so far in the order of their start. With steps, only those of these steps.
func (s *Standins) Calls(steps ...string) []Call {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "state.json.calls"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.check(err)
	// A line without its end is still being written.
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	var calls []Call
	for line := range strings.Lines(string(text)) {
		var call Call
		s.check(json.Unmarshal([]byte(line), &call))
		if len(steps) == 0 || slices.Contains(steps, call.Step) {
			calls = append(calls, call)
		}
	}
	return calls
}

// passed tells whether a time in seconds since 1970 is over.
func passed(seconds float64) bool {
	return float64(time.Now().UnixNano())/1e9 >= seconds
}
