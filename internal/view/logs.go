package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

const (
	// fillDelay is how long a log's last chunks may take to come by themselves before they are fetched.
	fillDelay = 500 * time.Millisecond
	// fillPatience is how long they may fail to be fetched, from a bus that is there, before the end of their job is shown all
	// the same: the events of other jobs wait behind it.
	fillPatience = 30 * time.Second
)

func (v *View) followLogs(ctx context.Context, done func()) error {
	made, err := v.bus.LogsMade(ctx)
	if err != nil {
		return err
	}
	return v.bus.FollowLogs(ctx, v.cursor.start(made), func(c *bus.Chunk) {
		// Until it is in the file: a chunk that was passed over would be missed by followers.
		for !v.store(ctx, c) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(storePause):
			}
		}
		v.cursor.advance(c.Seq)
	}, done)
}

// isGap says whether a log lacks what comes before the chunk at hand.
func isGap(err error) bool {
	var gap *logfile.Gap
	return errors.As(err, &gap)
}

// storePause is between two tries to write a chunk, to a full disk say.
const storePause = time.Second

// store brings a chunk into its job's file, and says whether it did.
func (v *View) store(ctx context.Context, c *bus.Chunk) bool {
	err := v.append(c)
	if isGap(err) {
		err = v.fill(ctx, c.Host, c.Job)
	}
	if err != nil && ctx.Err() == nil {
		v.log.Error("view: log file", "job", c.Job, "error", err)
	}
	// A gap that the stream itself has stays.
	return err == nil || isGap(err)
}

func (v *View) append(c *bus.Chunk) error {
	log := v.logs.Get(c.Job)
	if err := log.Append(c.Offset, c.Text); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.jobs[c.Job]; e != nil {
		v.count(e, log.Size())
		v.settle(e)
	}
	return nil
}

// fill fetches the whole log of one job from the stream; what the file has is skipped. It is given up where nothing comes for
// fillPatience.
func (v *View) fill(ctx context.Context, host, id string) error {
	select {
	case v.filling <- struct{}{}:
		defer func() { <-v.filling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := v.patience()
	idle := time.AfterFunc(patience, func() {
		cancel(fmt.Errorf("%w: nothing of the log came for %s", bus.ErrUnavailable, patience))
	})
	defer idle.Stop()
	err := v.bus.ReadLog(ctx, host, id, func(c *bus.Chunk) error {
		idle.Reset(patience)
		return v.append(c)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (v *View) patience() time.Duration {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.fillPatience
}

// fillEnded fetches what is missing of the logs of ended jobs, unless it comes by itself.
func (v *View) fillEnded(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.ended:
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(fillDelay):
			}
			missing, left := v.missing(time.Now())
			for i := range missing {
				v.fillOne(ctx, &missing[i])
			}
			if !left {
				break
			}
		}
	}
}

func (v *View) fillOne(ctx context.Context, job *jobs.Job) {
	began := time.Now()
	err := v.fill(ctx, job.Host, job.ID)
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.jobs[job.ID]
	switch {
	case v.settle(e):
	case err == nil || isGap(err):
		v.giveUp(e)
	case !v.bus.Connected():
		e.failing = time.Time{}
	default:
		v.failed(e, began, err)
	}
}

// failed takes in that a log could not be fetched by a try that has begun then.
func (v *View) failed(e *entry, began time.Time, err error) {
	if e.failing.IsZero() {
		v.log.Warn("view: log of an ended job, trying again", "job", e.job.ID, "error", err)
		e.failing = began
	}
	if e.ended != nil && time.Since(e.failing) >= v.fillPatience {
		v.log.Error("view: an ended job is shown without its whole log, which is tried for again and again", "job", e.job.ID, "error", err)
		v.lacking[e.job.ID] = e
		v.end(e)
	}
}

// giveUp ends the wait for a log of which the bus itself has not the whole any more.
func (v *View) giveUp(e *entry) {
	job := v.waitsForLog(e)
	text := fmt.Sprintf("the log is incomplete: the bus has %d of its %d bytes", v.logs.Get(job.ID).Size(), job.LogBytes)
	v.log.Error("view: "+text, "job", job.ID)
	job.Warnings = append(slices.Clone(job.Warnings), text)
	v.complete(e)
}

// waitsForLog is the terminal state of a job whose log may lack something, or nil.
func (v *View) waitsForLog(e *entry) *jobs.Job {
	if _, lacks := v.lacking[e.job.ID]; lacks {
		return &e.job
	}
	return e.ended
}

// settle shows the terminal state of a job whose log is whole, and says whether there is nothing to wait for any more.
func (v *View) settle(e *entry) bool {
	job := v.waitsForLog(e)
	if job == nil {
		return true
	}
	if v.logs.Get(job.ID).Size() < job.LogBytes {
		return false
	}
	v.complete(e)
	return true
}

// complete shows a job as ended, with a log to which nothing comes any more.
func (v *View) complete(e *entry) {
	delete(v.lacking, e.job.ID)
	if e.ended != nil {
		v.end(e)
	}
	v.logs.Get(e.job.ID).Finish()
}

// missing lists the ended jobs whose log has had time enough to come, and says whether any ended job waits for its log.
func (v *View) missing(now time.Time) (list []jobs.Job, left bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, behind := v.behind[partLogs]
	for _, e := range v.lacking {
		list = append(list, e.job)
	}
	left = len(list) > 0
	for _, active := range v.active {
		for _, e := range active {
			if e.ended == nil {
				continue
			}
			left = true
			if !behind && now.Sub(e.endedAt) >= fillDelay {
				list = append(list, *e.ended)
			}
		}
	}
	return list, left
}

// Log returns the log of a job. Of a terminal job it is whole: what the file lacks is fetched first.
func (v *View) Log(ctx context.Context, id string) (*logfile.Log, error) {
	job, err := v.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	log := v.logs.Get(id)
	if !job.State.Terminal() {
		return log, nil
	}
	if err := log.Check(job.LogBytes); err != nil {
		return nil, err
	}
	if log.Size() < job.LogBytes {
		if err := v.fill(ctx, job.Host, id); err != nil && !isGap(err) {
			return nil, fmt.Errorf("log of job %s: %w", id, err)
		}
	}
	log.Finish()
	return log, nil
}
