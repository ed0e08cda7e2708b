package dispatch

import (
	"context"
	"errors"
	"sync"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// placeOf is the host that has the working directory. Where none has it, best gets it if the action changes labs; isNew says that
// none had it.
//
// The bus is asked one question of two: who has it, or to give it to best unless another one has it. Either one is answered
// rightly; the other one has to follow where the directory is not as it was thought to be.
func (d *Dispatcher) placeOf(ctx context.Context, workdir, best string, action jobs.Action) (placed string, isNew bool, err error) {
	if !action.Changes() || d.had.has(workdir) {
		placed, err = d.bus.PlaceOf(ctx, workdir)
		if !errors.Is(err, bus.ErrNotFound) {
			return placed, false, err
		}
		if !action.Changes() {
			return best, true, nil
		}
	}
	placed, isNew, err = d.bus.Place(ctx, workdir, best)
	if err == nil {
		d.had.add(workdir)
	}
	return placed, isNew, err
}

// maxRecent is how many working directories are remembered, some hundred bytes each.
const maxRecent = 10_000

// recent are working directories that had a host when this API last asked. They may have moved since.
type recent struct {
	mu      sync.Mutex
	workdir map[string]struct{}
	most    int
}

func newRecent(most int) recent { return recent{workdir: map[string]struct{}{}, most: most} }

func (r *recent) has(workdir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.workdir[workdir]
	return ok
}

// add forgets all others where there are too many.
func (r *recent) add(workdir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.workdir) >= r.most {
		clear(r.workdir)
	}
	r.workdir[workdir] = struct{}{}
}
