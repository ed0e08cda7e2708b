package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// retryAtMost is the longest pause between two tries to bring a log into its file.
	retryAtMost = 10 * time.Second
)

// retry is a log that could not be brought into its file, because the API's disk is full say. It is fetched again as a whole.
type retry struct {
	host string
	// since is when the first try began with the bus there.
	since time.Time
	pause time.Duration
	at    time.Time
}

func (v *View) followLogs(ctx context.Context, t *turn, done func()) error {
	return v.bus.FollowLogs(ctx, v.cursor.load(), func(c *bus.Chunk, at bus.Mark) {
		if v.store(ctx, c) && !v.isOver(t) {
			v.cursor.reach(at)
		}
	}, done)
}

// isOther says whether a log's file is that of a job before, which was let go while this API was not there to hear of it, and whose
// Idempotency-Key has made another one since.
func isOther(err error) bool { return errors.Is(err, logfile.ErrDiffers) }

// isGap says whether a log lacks what comes before the chunk at hand.
func isGap(err error) bool {
	var gap *logfile.Gap
	return errors.As(err, &gap)
}

// store brings a chunk into its job's file. It says whether all that came up to the chunk is in the files: a start anew has to
// read what is not.
func (v *View) store(ctx context.Context, c *bus.Chunk) (whole bool) {
	retrying, others := v.retrying(c.Job)
	if retrying {
		return false // it is fetched with all the rest of its log
	}
	err := v.append(c)
	if isGap(err) || isOther(err) {
		err = v.fill(ctx, c.Host, c.Job)
	}
	if err == nil || isGap(err) { // a gap that the stream itself has stays
		return !others
	}
	if ctx.Err() == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.failed(c.Host, c.Job, time.Now(), err)
	}
	return false
}

// retrying says whether a log is to be fetched again, and whether any other is.
func (v *View) retrying(id string) (own, others bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, own = v.retries[id]
	return own, len(v.retries) > 0
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
		if e.open == nil && log.Size() >= e.logBytes {
			if v.short[e.id] == e {
				v.judge(e)
			}
			log.Finish()
		}
	}
	return nil
}

// fill fetches the whole log of one job from the stream; what the file has is skipped, and a file that is another job's is removed.
// It is given up where nothing comes for fillPatience.
func (v *View) fill(ctx context.Context, host, id string) error {
	select {
	case v.filling <- struct{}{}:
		defer func() { <-v.filling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(v.fillPatience, func() {
		cancel(fmt.Errorf("%w: nothing of the log came for %s", bus.ErrUnavailable, v.fillPatience))
	})
	defer idle.Stop()
	read := func() error {
		return v.bus.ReadLog(ctx, host, id, func(c *bus.Chunk) error {
			idle.Reset(v.fillPatience)
			return v.append(c)
		})
	}
	if err := v.logs.Get(id).Load(); err != nil { // the bus may have nothing of what the file has
		return err
	}
	err := read()
	if isOther(err) {
		v.log.Warn("view: the file of a log is another job's, it is fetched anew", "job", id)
		if err = v.logs.Remove(id); err == nil {
			err = read()
		}
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// fillLater fetches what is missing of the logs of ended jobs, unless it comes by itself, and the logs that have to be tried
// again.
func (v *View) fillLater(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.lacks:
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(v.fillDelay):
			}
			due, left := v.due(time.Now())
			for id, host := range due {
				v.fetch(ctx, host, id)
			}
			if !left {
				break
			}
		}
	}
}

// checkLogs fetches, once all is read, what the files lack of the logs of jobs under way. A power cut may have taken from them what the cursor
// is behind; to a job that writes nothing more nothing comes by which it would be missed.
func (v *View) checkLogs(ctx context.Context) {
	v.AwaitCaughtUp(ctx)
	for _, job := range v.begun() {
		if err := v.checkLog(ctx, job.Host, job.ID); err != nil && ctx.Err() == nil {
			v.log.Warn("view: whether the file of a log has all is not known", "job", job.ID, "error", err)
		}
	}
}

// begun are the jobs under way that may have a log.
func (v *View) begun() []jobs.Job {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var list []jobs.Job
	for _, active := range v.active {
		for _, e := range active {
			if job := v.shown(e); job.State != jobs.Queued {
				list = append(list, job)
			}
		}
	}
	return list
}

// checkLog fetches a log whose file is shorter than it is on the bus, unless the rest comes by itself.
func (v *View) checkLog(ctx context.Context, host, id string) error {
	end, _, err := v.endOfLog(ctx, host, id)
	if err != nil || v.logs.Get(id).Size() >= end {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(v.fillDelay):
	}
	if job, ok := v.Known(id); ok && !job.State.Terminal() && v.logs.Get(id).Size() < end { // of one that has ended all is fetched anyway
		v.fetch(ctx, host, id)
	}
	return nil
}

// wakeFiller has fillLater look.
func (v *View) wakeFiller() {
	select {
	case v.lacks <- struct{}{}:
	default:
	}
}

// fetch brings a log up to what the bus has of it.
func (v *View) fetch(ctx context.Context, host, id string) {
	v.mu.Lock()
	before := v.retries[id]
	delete(v.retries, id) // what comes from here on is stored as it comes
	v.mu.Unlock()
	began := time.Now()
	err := v.fill(ctx, host, id)
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil && !isGap(err) {
		if before != nil {
			v.retries[id] = before
		}
		v.failed(host, id, began, err)
		return
	}
	switch e := v.jobs[id]; {
	case e == nil, v.settle(e):
	case e.endedAt.Add(v.fillDelay).After(began): // it has ended meanwhile, and its last chunks may come by themselves
		v.wakeFiller()
	default:
		v.giveUp(e)
	}
}

// failed takes in that a log could not be brought into its file by a try that has begun then.
func (v *View) failed(host, id string, began time.Time, err error) {
	r := v.retries[id]
	if r == nil {
		v.log.Error("view: a log cannot be stored, trying again and again", "job", id, "error", err)
		r = &retry{host: host, since: began}
		v.retries[id] = r
	}
	now := time.Now()
	if !v.bus.Connected() {
		r.since = now
	}
	r.pause = min(max(2*r.pause, v.fillDelay), retryAtMost)
	r.at = now.Add(r.pause)
	if e := v.jobs[id]; e != nil && e.ending() != nil && now.Sub(r.since) >= v.fillPatience {
		v.log.Error("view: an ended job is shown without its whole log", "job", id, "error", err)
		v.lacking[id] = e
		v.finish(e, nil)
	}
	v.wakeFiller()
}

// giveUp ends the wait for a log of which the bus itself has not the whole any more.
func (v *View) giveUp(e *entry) {
	v.warnOfGap(e, v.waitsForLog(e))
	v.complete(e)
}

// shortLog begins the warning of a job whose log lacks what the bus has lost.
const shortLog = "the log is incomplete: "

// warnOfGap says in an ended job that its log lacks something, and whether it has not said so already.
func (v *View) warnOfGap(e *entry, job *jobs.Job) (changed bool) {
	v.short[e.id] = e
	text := fmt.Sprintf(shortLog+"the bus has %d of its %d bytes", v.logs.Get(job.ID).Size(), job.LogBytes)
	if slices.Contains(job.Warnings, text) {
		return false
	}
	v.log.Error("view: "+text, "job", job.ID)
	job.Warnings = append(slices.DeleteFunc(slices.Clone(job.Warnings), isOfGap), text)
	return true
}

func isOfGap(warning string) bool { return strings.HasPrefix(warning, shortLog) }

// judge has an ended job of which nothing but its text is kept say that its log lacks something, or not: the log may be whole after all, since
// another API has made it known to the bus again.
func (v *View) judge(e *entry) {
	if v.jobs[e.id] != e || e.open != nil {
		return
	}
	job := v.unpack(e.id, e.text)
	if v.logs.Get(e.id).Size() < e.logBytes {
		if v.warnOfGap(e, &job) {
			v.pack(e, &job, nil)
		}
		return
	}
	delete(v.short, e.id)
	if slices.ContainsFunc(job.Warnings, isOfGap) {
		job.Warnings = slices.DeleteFunc(job.Warnings, isOfGap)
		v.log.Info("view: a log that lacked something is whole", "job", e.id)
		v.pack(e, &job, nil)
	}
}

// waitsForLog is the terminal state of a job whose log may lack something, or nil.
func (v *View) waitsForLog(e *entry) *jobs.Job {
	if _, lacks := v.lacking[e.id]; lacks {
		return &e.open.job
	}
	return e.ending()
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
	delete(v.lacking, e.id)
	if e.ending() != nil {
		v.finish(e, nil)
	} else if e.open != nil {
		v.pack(e, &e.open.job, nil)
	}
	v.logs.Get(e.id).Finish()
}

// due are the logs that are to be fetched now, each with its host, and whether there are any others.
func (v *View) due(now time.Time) (list map[string]string, left bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	list = map[string]string{}
	for id, r := range v.retries {
		if !now.Before(r.at) {
			list[id] = r.host
		}
	}
	left = len(v.retries) > 0
	_, behind := v.behind[partLogs]
	for host, active := range v.active {
		for _, e := range active {
			if e.ending() == nil {
				continue
			}
			left = true
			if _, retrying := v.retries[e.id]; !retrying && !behind && now.Sub(e.endedAt) >= v.fillDelay {
				list[e.id] = host
			}
		}
	}
	return list, left
}

// Log returns the log of a job. Of a terminal job it is whole, what the file lacks is fetched first, or else the job has a warning:
// the bus has lost the rest. ErrUnknown: there is no such job, or it is let go just now.
func (v *View) Log(ctx context.Context, id string) (*logfile.Log, error) {
	job, err := v.Show(ctx, id)
	if err != nil {
		return nil, err
	}
	log, err := v.logOf(job)
	if err != nil {
		return nil, err
	}
	if !job.State.Terminal() {
		return log, log.Load()
	}
	if err := log.Check(job.LogBytes); err != nil {
		return nil, err
	}
	if log.Size() < job.LogBytes {
		if err := v.fill(ctx, job.Host, id); err != nil && !isGap(err) {
			return nil, err
		}
		// The file may have been another job's, and then it is another one now; and the job may have been let go.
		if log, err = v.logOf(job); err != nil {
			return nil, err
		}
	}
	if log.Size() < job.LogBytes || bytes.Contains(job.text, []byte(shortLog)) {
		v.mu.Lock()
		v.judge(job.entry)
		v.mu.Unlock()
	}
	log.Finish()
	return log, nil
}

// logOf is the log of a job that is there still, and not that of a later one of its id. What has come of the log of one that was let go
// meanwhile is removed.
func (v *View) logOf(job Shown) (*logfile.Log, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch v.jobs[job.ID] {
	case job.entry:
		return v.logs.Get(job.ID), nil
	case nil:
		v.removeLog(job.ID)
	}
	return nil, ErrUnknown
}

// removeLog removes a log, whenever its disk lets it. removed is closed then.
func (v *View) removeLog(id string) (removed <-chan struct{}) {
	remove, done := v.logs.Detach(id), make(chan struct{})
	v.removals.add(func() {
		defer close(done)
		if err := remove(); err != nil {
			v.log.Error("view: the log of a job that was let go", "job", id, "error", err)
		}
	})
	return done
}
