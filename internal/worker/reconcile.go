package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// reconcileWait is how long a worker that has just started waits for an API to say which jobs it believes to be under way here.
const reconcileWait = 5 * time.Second

// reconcile answers {"jobs":[id,…]}, the jobs that an API believes to be under way on this host, with {"unknown":[id,…]}: those of
// which the journal has nothing, because it was lost. They are taken into it and brought to their end: life is the context of the
// worker's own work.
func (w *Worker) reconcile(life, ctx context.Context, question []byte) ([]byte, error) {
	var q struct {
		Jobs []string `json:"jobs"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	taken, err := w.bus.Taken(ctx, w.config.Host)
	if err != nil {
		return nil, err
	}
	unknown := []string{}
	var failed error
	for _, id := range q.Jobs {
		isLost, err := w.reconcileOne(life, ctx, id, taken)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("job %s: %w", id, err))
		}
		if isLost {
			unknown = append(unknown, id)
		}
	}
	if failed != nil {
		return nil, failed // of the others nothing is left to do when it is asked again
	}
	w.reconciled()
	return json.Marshal(map[string]any{"unknown": unknown})
}

// reconcileOne says whether the journal should have the job and had not.
func (w *Worker) reconcileOne(life, ctx context.Context, id string, taken uint64) (isLost bool, err error) {
	if !jobs.ValidID(id) || w.journal.has(id) {
		return false, nil
	}
	return w.adopt(life, ctx, id, taken)
}

// adopt takes a job into the journal that should have it and has not, as the bus has it. Jobs behind taken are still to come by
// themselves, and those that have ended here have, whatever the bus has lost of that.
func (w *Worker) adopt(life, ctx context.Context, id string, taken uint64) (bool, error) {
	if ended, err := w.restoreEnd(ctx, id); ended || err != nil {
		return false, err
	}
	birth, seq, err := w.bus.Birth(ctx, w.config.Host, id)
	if errors.Is(err, bus.ErrNotFound) || err == nil && seq > taken {
		return false, nil // a birth that is not there is another host's, or the stream was lost
	}
	if err != nil {
		return false, err
	}
	last, err := w.bus.LastStatus(ctx, w.config.Host, id)
	switch {
	case err == nil && last.State.Terminal():
		return false, nil
	case err != nil && !errors.Is(err, bus.ErrNotFound):
		return false, err
	}
	lives, err := exec.Lives(id)
	if err != nil {
		return false, err
	}
	birth.State = jobs.Queued // as it was born: a birth that was made known again is the newest state
	e, isNew, err := w.journal.add(birth, seq, last != nil || lives)
	if err != nil || !isNew {
		return false, err
	}
	w.log.Warn("the journal has nothing of a job that was taken, the bus has it", "job", id)
	t := newTask(e)
	t.key, t.runs = w.reclaim(e)
	w.enqueue(life, t)
	return true, nil
}

// adoptPatience is how long a worker that starts waits for what the bus has of one job that its journal cannot tell of.
const adoptPatience = 20 * time.Second

// findLost takes those jobs into the journal that it cannot tell of and that may be under way all the same: the damaged ones, and
// whichever has a process on this machine. Those of other hosts' workers are none of this host's for the bus. What the bus does not
// say in time is asked for beside all else, until it does.
func (w *Worker) findLost(ctx context.Context, damaged []string, wg *sync.WaitGroup) {
	alive, err := exec.Jobs()
	for ; err != nil; alive, err = exec.Jobs() {
		w.log.Error("runs of which the journal knows nothing cannot be looked for, trying again", "error", err)
		if pause(ctx, time.Second) != nil {
			return
		}
	}
	ids := slices.Clone(damaged)
	for _, id := range alive {
		if jobs.ValidID(id) && !w.journal.has(id) && !slices.Contains(damaged, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	// How long a bus is away does not count.
	err = w.bus.Retry(ctx, "horizon", func(ctx context.Context) error {
		_, err := w.bus.Horizon(ctx)
		return err
	})
	if err != nil && ctx.Err() == nil {
		w.log.Warn("what was let go is not known", "error", err)
	}
	for _, id := range ids {
		attempt, cancel := context.WithTimeout(ctx, w.adoptPatience)
		w.adoptLost(ctx, attempt, id)
		if attempt.Err() != nil {
			wg.Go(func() { w.adoptLost(ctx, ctx, id) })
		}
		cancel()
	}
}

// adoptLost adopts the job, if the bus says before the end of attempt that it is under way here.
func (w *Worker) adoptLost(life, attempt context.Context, id string) {
	err := w.bus.Retry(attempt, "request of job "+id, func(ctx context.Context) error {
		var taken uint64
		_, _, err := w.bus.Birth(ctx, w.config.Host, id)
		if err == nil {
			// One that was not taken comes by itself, though an earlier one of its id, which was let go, has left processes.
			taken, err = w.bus.Taken(ctx, w.config.Host)
		}
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		isLost, err := w.adopt(life, ctx, id, taken)
		if err != nil || isLost {
			return err
		}
		if lives, err := exec.Lives(id); err != nil || lives {
			return err
		}
		return w.journal.clear(id)
	})
	if err != nil && life.Err() == nil {
		w.log.Error("journal: a job that it cannot tell of is not found on the bus", "job", id, "error", err)
	}
}

// processLook is how often it is looked whether the processes of a run have ended that nobody watches.
const processLook = time.Second

// orphan waits for the end of a run of which the journal was lost: whatever lives of it is left alone, unless its job is canceled
// or takes too long. How it ended cannot be known.
func (r *run) orphan(ctx, runCtx context.Context) (outcome, error) {
	r.scene.Dir = r.key
	if err := say(r.entry.output(), "the record of this run was lost on host %s: it goes on, and how it ends cannot be known", r.w.config.Host); err != nil {
		return outcome{}, err
	}
	if end, stopped, err := r.awaitProcesses(ctx, runCtx); stopped || err != nil {
		return end, err
	}
	return r.refuse(failed(jobs.ReasonInterrupted, "the record of the run was lost, so how it ended is not known; "+r.labNow(ctx))), nil
}

// awaitProcesses returns when no process of the job is left, though none is known to be its driver. stopped: they were, because the
// job was canceled or took too long, and end is its end.
func (r *run) awaitProcesses(ctx, runCtx context.Context) (end outcome, stopped bool, err error) {
	age, err := exec.Age(r.entry.Birth.ID)
	if err != nil {
		return end, false, err
	}
	timeout := r.timeout()
	timed, cancel := context.WithTimeout(runCtx, timeout-age)
	defer cancel()
	for {
		if lives, err := exec.Lives(r.entry.Birth.ID); err != nil || !lives {
			return end, false, err
		}
		select {
		case <-timed.Done():
			if ctx.Err() != nil {
				return end, false, ctx.Err()
			}
			end = *r.whyStopped(timed, runCtx, timeout)
			left := r.stopJob(ctx)
			if ctx.Err() != nil {
				return end, false, ctx.Err()
			}
			return r.stopped(ctx, end, left), true, nil
		case <-time.After(processLook):
		}
	}
}

// joinLog has the log go on behind what the bus has of it, where the output was lost, or what says where it stands in the log.
func (r *run) joinLog(ctx context.Context, orphaned bool) error {
	output := r.entry.output()
	_, baseErr := loadOffset(output+baseSuffix, 0)
	_, cutErr := loadOffset(output+cutSuffix, uncut)
	damaged, cutDamaged := errors.Is(baseErr, errOffset), errors.Is(cutErr, errOffset)
	if baseErr != nil && !damaged || cutErr != nil && !cutDamaged {
		return errors.Join(baseErr, cutErr)
	}
	_, err := os.Stat(output)
	lost := orphaned && errors.Is(err, fs.ErrNotExist)
	if !lost && !damaged && !cutDamaged {
		return nil
	}
	end, err := r.publishedEnd(ctx)
	if err == nil && cutDamaged {
		err = saveOffset(output+cutSuffix, end)
	}
	if err == nil && (lost || damaged) {
		err = saveOffset(output+baseSuffix, end)
	}
	if err == nil && damaged {
		err = say(output, "the record of where this log stood is damaged: lines above may be there twice")
	}
	return err
}

// publishedEnd is the length of the log that the bus has.
func (r *run) publishedEnd(ctx context.Context) (end int64, err error) {
	err = r.w.bus.Retry(ctx, "log of job "+r.entry.Birth.ID, func(ctx context.Context) error {
		chunk, err := r.w.bus.LastChunk(ctx, r.w.config.Host, r.entry.Birth.ID)
		if err == nil {
			end = chunk.End()
		}
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		return err
	})
	return end, err
}
