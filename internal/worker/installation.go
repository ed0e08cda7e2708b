package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"netlab-runner/internal/exec"
)

// installation finds Netlab, and looks again when it was not there, or another one may be.
type installation struct {
	python, dataDir string
	// warm is how long Netlab is kept ready after a run has begun; 0: never.
	warm time.Duration
	log  *slog.Logger

	// looking lets one look at a time, which may take many seconds; mu guards what was found.
	looking sync.Mutex
	mu      sync.Mutex
	found   *exec.Netlab
	err     error // of the last look; found is that of one before then
	closed  bool
}

// get returns the Netlab that was found, or looks for it. It does not wait to hear whether another one was installed.
func (i *installation) get(ctx context.Context) (*exec.Netlab, error) {
	if found, err := i.last(); found != nil && err == nil {
		i.check()
		return found, nil
	}
	i.looking.Lock()
	defer i.looking.Unlock()
	if found, err := i.last(); found != nil && err == nil {
		return found, nil
	}
	return i.look(ctx)
}

// check looks again in the background where something was installed since the last look.
func (i *installation) check() {
	if !i.looking.TryLock() {
		return // somebody looks
	}
	go func() {
		defer i.looking.Unlock()
		before, unfound := i.last()
		if !outdated(before, unfound) {
			return
		}
		found, err := i.look(context.Background())
		switch {
		case err == nil:
			i.log.Info("Netlab found anew", "version", found.Version, "python", found.Python)
		case unfound == nil || unfound.Error() != err.Error():
			i.log.Error("Netlab cannot be used; jobs will fail until it can", "error", err)
		}
	}()
}

// outdated says whether another look may find something else than the last one. It may take as long as a file server does.
func outdated(found *exec.Netlab, err error) bool {
	var unusable *exec.UnusableError
	if errors.As(err, &unusable) {
		return unusable.Changed()
	}
	return err != nil || found != nil && found.Changed()
}

// look is called by one at a time.
func (i *installation) look(ctx context.Context) (*exec.Netlab, error) {
	found, err := exec.Find(ctx, i.python, i.dataDir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err = err; err != nil {
		return nil, err
	}
	switch {
	case i.found != nil:
		found.TakeOver(i.found)
	case i.warm > 0 && !i.closed:
		found.KeepWarm(i.warm, i.log)
	}
	i.found = found
	return found, nil
}

// close ends what is kept ready. Runs that begin later do without.
func (i *installation) close() {
	i.mu.Lock()
	found := i.found
	i.closed = true
	i.mu.Unlock()
	if found != nil {
		found.Close()
	}
}

// last says what was found at the last look, or why nothing was, without looking again.
func (i *installation) last() (*exec.Netlab, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.found, i.err
}
