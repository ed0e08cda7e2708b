package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/logtext"
)

// restorePatience is how long one job is tried to be made known again, before the streams themselves are looked at anew.
const restorePatience = 30 * time.Second

// Writable is bus.ErrUnavailable with the reason while the bus is away, and the hosts look as if they were, and for as long as it
// knows less than this view: a request that came before could not be told from a new one.
func (v *View) Writable() error {
	if silence := v.bus.SilenceOfJobs(time.Now()); silence > 0 {
		return fmt.Errorf("%w: it has not answered for %s", bus.ErrUnavailable, max(silence.Round(time.Second), time.Second))
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.lost != "" {
		return fmt.Errorf("%w: %s", bus.ErrUnavailable, v.lost)
	}
	return nil
}

// mend makes the streams again that were lost, and in them the jobs that this view knows.
func (v *View) mend(ctx context.Context, part string, loss error) error {
	if part == partJobs {
		v.setLost("jobs: the bus has lost some of them, they are being made known to it again")
	}
	err := v.bus.MendStreams(ctx)
	if err == nil && part == partJobs {
		if errors.Is(loss, bus.ErrLostNewest) {
			v.tellLoss(ctx)
		}
		err = v.restoreJobs(ctx)
	}
	if err != nil {
		v.log.Error("view: what the bus has lost is not made good yet, trying again", "part", part, "error", err)
	}
	return err
}

// tellLoss has the stream of jobs be another one to everybody. A server whose disk has little room refuses even this: then it is another one to
// the followers of this view alone.
func (v *View) tellLoss(ctx context.Context) {
	v.mu.RLock()
	made := v.newMade
	v.mu.RUnlock()
	if err := v.bus.TellLoss(ctx, made); err != nil {
		v.log.Warn("view: that the bus has lost the newest jobs is not told to others", "error", err)
		v.mu.Lock()
		v.lossAt = time.Now()
		v.mu.Unlock()
	}
}

func (v *View) setLost(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost = text
}

// restoreJobs publishes what the view knows of every job and the bus does not, in the order of their births, and has the view read
// the stream from its beginning: the sequences that it knows are those of a stream that is no more.
func (v *View) restoreJobs(ctx context.Context) error {
	all := v.all()
	v.log.Warn("view: the bus has lost jobs, making them known to it again", "jobs", len(all))
	// newest is the host of the newest job of each working directory.
	newest := map[string]string{}
	for _, e := range all {
		known := v.knowledge(e)
		job := &known.Job
		attempt, cancel := context.WithTimeout(ctx, v.restorePatience)
		err := v.bus.Retry(attempt, "job "+job.ID, func(ctx context.Context) error { return v.bus.Restore(ctx, known) })
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrFull):
			return fmt.Errorf("job %s: %w", job.ID, err)
		case err != nil:
			v.log.Error("view: a job is not made known to the bus again", "job", job.ID, "error", err)
		}
		if job.Action.Changes() {
			newest[job.Workdir] = job.Host
		}
	}
	if err := v.restorePlaces(ctx, newest); err != nil {
		return err
	}
	v.beginReplay()
	return nil
}

// all is every job, the oldest first.
func (v *View) all() []*entry {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Clone(v.order)
}

// knowledge is a job with its newest state.
func (v *View) knowledge(e *entry) *bus.Known {
	v.mu.RLock()
	defer v.mu.RUnlock()
	known := &bus.Known{Source: e.source.Value(), Canceled: e.canceled > 0}
	switch {
	case e.open == nil:
		known.Job = v.unpack(e.id, e.text)
	case e.open.ended != nil:
		known.Job = *e.open.ended
	default:
		known.Job, known.Request = e.open.job, e.open.request
	}
	known.Job.LogPath, known.Job.CancelRequested = "", e.cancelRequested(&known.Job)
	known.Job.Warnings = slices.DeleteFunc(slices.Clone(known.Job.Warnings), isOfGap) // another API may have the whole log
	return known
}

// restorePlaces gives each working directory back to its host, unless it has another one meanwhile.
func (v *View) restorePlaces(ctx context.Context, hosts map[string]string) error {
	for workdir, host := range hosts {
		attempt, cancel := context.WithTimeout(ctx, v.restorePatience)
		err := v.bus.Retry(attempt, "placements", func(ctx context.Context) error {
			_, _, err := v.bus.Place(ctx, workdir, host)
			return err
		})
		cancel()
		if err != nil {
			return fmt.Errorf("placements: %w", err)
		}
	}
	return nil
}

// beginReplay forgets the sequences of the stream that was lost. Until the jobs of the new one are all read, what is read is
// no event.
func (v *View) beginReplay() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.order {
		if e.open != nil {
			e.open.job.CancelRequested = e.cancelRequested(&e.open.job)
		}
		e.seq, e.told, e.canceled, e.endSeq = 0, 0, 0, 0
	}
	ev := &v.events
	ev.recent, ev.held, ev.bytes = nil, nil, 0
	ev.start, ev.told, ev.heard = 0, 0, 0
	ev.generation++
	ev.silent = true
	v.replaying, v.births = true, map[*entry]uint64{}
}

// endReplay puts the jobs in the order in which the new stream has them.
func (v *View) endReplay() {
	if !v.replaying {
		return
	}
	for _, e := range v.order {
		e.birth = v.births[e]
	}
	slices.SortStableFunc(v.order, byBirth)
	for _, active := range v.active {
		slices.SortStableFunc(active, byBirth)
	}
	v.index.sort()
	v.requeue()
	v.replaying, v.births, v.made, v.lost = false, nil, v.newMade, ""
}

// restorePause is between two looks which of the jobs that were under way at a loss have ended.
const restorePause = time.Second

// restoreLogs publishes what the bus has lost of the logs of ended jobs and the files have, the newest first. Those of jobs under
// way are their workers' to publish: each is looked at when it has ended, since its worker may not have noticed the loss before.
func (v *View) restoreLogs(ctx context.Context) {
	left := v.all()
	slices.Reverse(left)
	for len(left) > 0 {
		var err error
		if left, err = v.restoreEnded(ctx, left); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restorePause):
		}
	}
}

// restoreEnded restores the logs of those jobs that have ended, and returns the others. An error says that no more can be restored.
func (v *View) restoreEnded(ctx context.Context, list []*entry) (left []*entry, err error) {
	for _, e := range list {
		job, ok := v.Look(e.id)
		if !ok {
			continue
		}
		if !job.State.Terminal() {
			left = append(left, e)
			continue
		}
		err := v.restoreLog(ctx, job)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, bus.ErrFull) {
			v.log.Warn("view: the bus has no room for more of the logs that it has lost", "job", job.ID, "error", err)
			return nil, err
		}
		if err != nil {
			v.log.Warn("view: a log that the bus has lost is not made known to it again", "job", job.ID, "error", err)
		}
	}
	return left, nil
}

func (v *View) restoreLog(ctx context.Context, job Shown) error {
	log := v.logs.Get(job.ID)
	if err := log.Load(); err != nil {
		return err
	}
	if job.LogBytes == 0 || log.Size() < job.LogBytes {
		return nil // another API may have it
	}
	block := make([]byte, logtext.ChunkSize+utf8.UTFMax)
	for {
		offset, last, err := v.endOfLog(ctx, job.Host, job.ID)
		if err != nil || offset >= job.LogBytes {
			return err
		}
		n, err := log.ReadAt(block[:min(int64(len(block)), job.LogBytes-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		size := logtext.Chunk(block[:n], offset+int64(n) == job.LogBytes)
		_, err = v.bus.PublishLog(ctx, &bus.Chunk{Host: job.Host, Job: job.ID, Offset: offset, Text: block[:size]}, last)
		if err != nil && !errors.Is(err, bus.ErrConflict) { // another API does the same
			return err
		}
	}
}

// endOfLog is up to where the bus has a log, and the sequence of its last chunk; 0 where it has none.
func (v *View) endOfLog(ctx context.Context, host, id string) (end int64, seq uint64, err error) {
	err = v.bus.Retry(ctx, "log of job "+id, func(ctx context.Context) error {
		chunk, err := v.bus.LastChunk(ctx, host, id)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err == nil {
			end, seq = chunk.End(), chunk.Seq
		}
		return err
	})
	return end, seq, err
}
