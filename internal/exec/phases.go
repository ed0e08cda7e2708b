package exec

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// phasesKept is how many phases wait for a reader that does not come; of more, the oldest are dropped.
const phasesKept = 64

// Phases returns Netlab's own steps as they happen ("Starting clab nodes"), first the one that the run is in already. A
// command begins with the phase "netlab <command>". The channel is closed when the run has ended or is released; it is the
// same one at every call.
func (p *Process) Phases() <-chan string {
	p.follow.Do(func() { go p.followPhases() })
	return p.phases
}

func (p *Process) followPhases() {
	defer close(p.phases)
	progress := &progress{name: filepath.Join(p.dir, "progress")}
	defer progress.close()

	// Without a watcher (the user's limit of them is reached) the phases come at the end only: they are an extra.
	var events chan fsnotify.Event
	if watcher, err := fsnotify.NewWatcher(); err == nil {
		defer watcher.Close()
		if watcher.Add(p.dir) == nil {
			events = watcher.Events
		}
	}
	if past := progress.read(); len(past) > 0 {
		p.tell(past[len(past)-1])
	}
	for {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if event.Name != progress.name {
				continue
			}
			for _, phase := range progress.read() {
				p.tell(phase)
			}
		case <-p.done:
			for _, phase := range progress.read() {
				p.tell(phase)
			}
			return
		}
	}
}

// tell sends without ever waiting for the reader.
func (p *Process) tell(phase string) {
	for {
		select {
		case p.phases <- phase:
			return
		default:
		}
		select {
		case <-p.phases:
		default:
		}
	}
}

// progress reads the lines that the driver's processes append.
type progress struct {
	name string
	file *os.File
	in   *bufio.Reader
	part []byte // of a line whose end was not there yet
}

// read returns the phases since the last read.
func (p *progress) read() []string {
	if p.file == nil {
		file, err := os.Open(p.name)
		if err != nil {
			return nil // not made yet
		}
		p.file, p.in = file, bufio.NewReader(file)
	}
	var phases []string
	for {
		line, err := p.in.ReadBytes('\n')
		p.part = append(p.part, line...)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.part = nil
			}
			return phases
		}
		var entry struct{ Phase, Command string }
		if json.Unmarshal(p.part, &entry) == nil {
			if entry.Command != "" {
				entry.Phase = "netlab " + entry.Command
			}
			if entry.Phase != "" {
				phases = append(phases, entry.Phase)
			}
		}
		p.part = p.part[:0]
	}
}

func (p *progress) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}
