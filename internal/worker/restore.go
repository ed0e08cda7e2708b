package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"netlab-runner/internal/bus"
)

// liveRuns are the runs of this worker that have claimed their jobs, by job.
type liveRuns struct {
	mu   sync.Mutex
	runs map[string]*run
}

func newLiveRuns() *liveRuns { return &liveRuns{runs: map[string]*run{}} }

// add returns what takes the run out again.
func (l *liveRuns) add(r *run) (drop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := r.entry.Birth.ID
	l.runs[id] = r
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.runs, id)
	}
}

func (l *liveRuns) all() []*run {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.runs))
}

// followLosses makes known to the bus, at the start and whenever it has lost something, what this host knows of its jobs.
func (w *Worker) followLosses(ctx context.Context) {
	err := w.bus.FollowLosses(ctx, w.restore)
	if ctx.Err() == nil {
		w.log.Error("what the bus loses is not noticed any more: restart the worker", "error", err)
	}
}

func (w *Worker) restore(ctx context.Context) {
	for _, r := range w.live.all() {
		if err := r.confirm(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("state not made known again", "error", err)
		}
	}
	for _, e := range w.journal.list() {
		if over, _ := w.ended.unwritten(e.Birth.ID); over != nil {
			continue // its end goes before its birth
		}
		if err := w.ensureBorn(ctx, e); err != nil && !errors.Is(err, errLost) && ctx.Err() == nil {
			w.log.Warn("request not made known again", "job", e.Birth.ID, "error", err)
		}
	}
	w.offerEnds(ctx)
}

// offerEnds makes known to the bus how the jobs have ended of which it has no end, one after the other: there may be thousands.
func (w *Worker) offerEnds(ctx context.Context) {
	for _, id := range w.ended.ids() {
		if ctx.Err() != nil {
			return
		}
		if err := w.offerEnd(ctx, id); err != nil && ctx.Err() == nil {
			w.log.Warn("end not made known again", "job", id, "error", err)
		}
	}
}

// offerEnd asks one question where the bus has the end of the job, as it mostly has.
func (w *Worker) offerEnd(ctx context.Context, id string) error {
	stored, err := w.endStored(ctx, id)
	if err == nil && stored.IsZero() {
		var ended bool
		if ended, err = w.restoreEnd(ctx, id); err == nil && ended {
			stored, err = w.endStored(ctx, id)
		}
	}
	if err != nil || stored.IsZero() {
		return err
	}
	return w.ended.setStored(id, stored)
}

// endStored is when the bus stored the end of a job, the zero time where it has none.
func (w *Worker) endStored(ctx context.Context, id string) (at time.Time, err error) {
	err = w.bus.Retry(ctx, "end of job "+id, func(ctx context.Context) error {
		last, err := w.bus.LastStatus(ctx, w.config.Host, id)
		switch {
		case errors.Is(err, bus.ErrNotFound):
			return nil
		case err == nil && last.State.Terminal():
			at = last.Stored
		}
		return err
	})
	return at, err
}

// noteEnd remembers how a job has ended, which the bus has. Where it does not say at once when it has stored that, the next worker asks
// again. Until it is remembered the journal has the job: whoever finds it there finds its end on the bus, and remembers that.
func (w *Worker) noteEnd(ctx context.Context, r *reporter) error {
	stored := r.stored
	if stored.IsZero() {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var err error
		if stored, err = w.endStored(asking, r.job.ID); err != nil {
			w.log.Warn("it is not known when the bus has stored the end of a job", "job", r.job.ID, "error", err)
		}
	}
	return w.ended.add(&endedJob{Job: r.job, Stored: stored})
}

// confirm publishes the run's state and log again, where the bus has them no more.
func (r *run) confirm(ctx context.Context) error {
	r.reporter.doubts() // the log may be published to its end, and its spool listen no more
	r.spool.again()
	return r.reporter.confirm(ctx)
}

// complete publishes again what the bus has lost of a run that has ended: the job and its log, which come before its end.
func (r *run) complete(ctx context.Context, ended <-chan struct{}) error {
	if err := r.reporter.confirm(ctx); err != nil {
		return err
	}
	stands, err := r.spool.stands(ctx)
	if err != nil || stands {
		return err
	}
	if _, err := os.Stat(r.entry.output()); errors.Is(err, fs.ErrNotExist) {
		r.log.Error("the bus has lost the log of a run that has ended, and the journal has none: it is left to the APIs, which may have it")
		return nil
	}
	r.log.Warn("the bus has lost the log of a run that has ended, it is published again")
	return r.spool.keep(ctx, ended, true, r.log)
}

// ensureBorn gives birth to a job again that the bus has lost. errLost: it was let go, so that nothing on the bus would keep it from
// being claimed: an API has ended it while this worker was away, or the journal is an old one, of a backup.
func (w *Worker) ensureBorn(ctx context.Context, e *entry) error {
	return w.bus.Retry(ctx, "request of job "+e.Birth.ID, func(ctx context.Context) error {
		standing, err := w.bus.StandingOf(ctx, &e.Birth.Job, e.unended())
		switch {
		case err != nil || standing == bus.Stored:
			return err
		case standing == bus.LetGo:
			return fmt.Errorf("%w: it has ended, and was let go since", errLost)
		}
		w.log.Warn("the bus has lost the request of a job, it is published again", "job", e.Birth.ID)
		request, err := json.Marshal(e.Birth)
		if err != nil {
			return err
		}
		return w.bus.Restore(ctx, &bus.Known{Job: e.Birth.Job, Request: request})
	})
}

// restoreEnd publishes the end of a job again of which the bus has nothing any more, and says whether the job has ended here. One
// that was let go is none any more.
func (w *Worker) restoreEnd(ctx context.Context, id string) (ended bool, err error) {
	job, err := w.ended.get(id)
	if job == nil || err != nil {
		return false, err
	}
	err = w.bus.Retry(ctx, "end of job "+id, func(ctx context.Context) error {
		standing, err := w.bus.StandingOf(ctx, &job.Job, job.since())
		if err != nil || standing == bus.LetGo {
			return err
		}
		ended = true
		return w.bus.Restore(ctx, &bus.Known{Job: job.Job, Source: w.source})
	})
	return ended, err
}
