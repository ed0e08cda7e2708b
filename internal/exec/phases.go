package exec

import (
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// phasesKept is how many phases wait for a reader that does not come; of more, the oldest are dropped.
	phasesKept = 64
	// lookAgain is how often progress is read though nothing was heard of it, lookOften where nothing can be heard: the
	// user's limit of watches is reached.
	lookAgain = 2 * time.Second
	lookOften = 100 * time.Millisecond
)

// Phases returns Netlab's own steps as they happen ("Starting clab nodes"), first the one that the run is in already. A
// command begins with the phase "netlab <command>". A phase is one line of 200 characters at most. The channel is closed when
// the run has ended or is released; it is the same one at every call.
func (p *Process) Phases() <-chan string {
	p.follow.Do(func() { go p.followProgress() })
	return p.phases
}

// followProgress tells phases and the question while the run goes on.
func (p *Process) followProgress() {
	defer close(p.asks)
	defer close(p.phases)
	progress := &progress{name: filepath.Join(p.dir, "progress")}
	defer progress.close()

	var events chan fsnotify.Event
	often := time.NewTicker(lookOften)
	defer often.Stop()
	if watcher, err := fsnotify.NewWatcher(); err == nil {
		defer watcher.Close()
		if watcher.Add(p.dir) == nil {
			events = watcher.Events
			often.Reset(lookAgain)
		}
	}
	past := progress.read()
	newest := len(past) - 1
	for newest >= 0 && past[newest].phase == "" {
		newest--
	}
	for i, step := range past {
		if i == newest || step.question != nil {
			p.tell(step)
		}
	}
	for {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
				often.Reset(lookOften)
				continue
			}
			if event.Name != progress.name {
				continue
			}
		case <-often.C:
		case <-p.done:
			for _, step := range progress.read() {
				p.tell(step)
			}
			return
		}
		for _, step := range progress.read() {
			p.tell(step)
		}
	}
}

// tell sends without ever waiting for the reader.
func (p *Process) tell(s step) {
	if s.question != nil {
		p.ask(s.question)
		return
	}
	for {
		select {
		case p.phases <- s.phase:
			return
		default:
		}
		select {
		case <-p.phases:
		default:
		}
	}
}
