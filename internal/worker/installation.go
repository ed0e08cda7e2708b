package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"netlab-runner/internal/exec"
)

// installation finds Netlab, and looks again when it was not there.
type installation struct {
	python, dataDir string
	// warm is how long Netlab is kept ready after a run has begun; 0: never.
	warm time.Duration
	log  *slog.Logger

	// looking lets one look at a time, which may take many seconds; mu guards what was found.
	looking sync.Mutex
	mu      sync.Mutex
	found   *exec.Netlab
	err     error
}

// get returns the Netlab that was found, or looks for it.
func (i *installation) get(ctx context.Context) (*exec.Netlab, error) {
	if found, _ := i.last(); found != nil {
		return found, nil
	}
	i.looking.Lock()
	defer i.looking.Unlock()
	if found, _ := i.last(); found != nil {
		return found, nil
	}
	found, err := exec.Find(ctx, i.python, i.dataDir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.found, i.err = found, err
	if err == nil && i.warm > 0 {
		found.KeepWarm(i.warm, i.log)
	}
	return found, err
}

// close ends what is kept ready. Runs that begin later do without.
func (i *installation) close() {
	if found, _ := i.last(); found != nil {
		found.Close()
	}
}

// last says what was found at the last look, without looking again.
func (i *installation) last() (*exec.Netlab, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.found, i.err
}
