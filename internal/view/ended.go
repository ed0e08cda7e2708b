package view

import (
	"slices"
	"time"

	"netlab-runner/internal/jobs"
)

// Ended is a job that is shown as ended, for who lets jobs go.
type Ended struct {
	Job jobs.Job
	// At is when the bus stored its end, by the bus's clock. The clocks of hosts differ, and a job whose host was away for a
	// day is new to everybody when its end comes.
	At time.Time
	// Heard is when this view heard of it, by its own clock: where that of the bus was ahead, At is not to come for a while. What has passed
	// since then is what it says, also where a clock was set.
	Heard time.Time
	// Next is the earliest At of those behind it, the zero time where there is none: the clock of the bus may have been set back since.
	Next time.Time
	// UpTo is the sequence of the newest message that the view has from the stream of jobs: what that has of the job is there or
	// before, and what it has of a later job of the same id is behind.
	UpTo uint64

	entry *entry
}

// Ended returns the jobs whose ends are the oldest, n at most and in the order of their ends in the stream. total is how many have ended, and
// kept how many bytes of files they have left on the bus.
func (v *View) Ended(n int) (oldest []Ended, total int, kept int64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, e := range v.finished[:min(n, len(v.finished))] {
		if e.seq > v.events.heard {
			break // an end that was published here, and did not come from the stream yet
		}
		oldest = append(oldest, Ended{Job: v.shown(e), At: e.end, Heard: e.endedAt, UpTo: v.events.heard, entry: e})
	}
	// Where each is later than the one before it, the earliest of those behind is the next one.
	behind := v.finished
	if !v.unsorted {
		behind = behind[:min(len(oldest)+1, len(behind))]
	}
	var earliest time.Time
	for i, e := range slices.Backward(behind) {
		if i < len(oldest) {
			oldest[i].Next = earliest
		}
		if earliest.IsZero() || e.end.Before(earliest) {
			earliest = e.end
		}
	}
	return oldest, len(v.finished), v.kept
}

// removePatience is how long who lets a job go waits for the disk of its log.
const removePatience = 100 * time.Millisecond

// Forget takes a job out of the view that the bus has let go, and removes its log, later where the disk hangs. Who reads or follows
// the log gets logfile.ErrRemoved. A later job of its id stays.
func (v *View) Forget(ended *Ended) {
	v.mu.Lock()
	if v.jobs[ended.Job.ID] != ended.entry {
		v.mu.Unlock()
		return
	}
	v.forget(ended.entry)
	removed := v.removeLog(ended.Job.ID)
	v.mu.Unlock()
	select {
	case <-removed:
	case <-time.After(removePatience):
		v.log.Warn("view: the log of a job that was let go is still there, its disk does not answer", "job", ended.Job.ID)
	}
}

// forget takes an entry out of everything. Events of it that are kept for followers stay until newer ones push them out.
func (v *View) forget(e *entry) {
	delete(v.jobs, e.id)
	delete(v.lacking, e.id)
	delete(v.retries, e.id)
	delete(v.short, e.id)
	v.order = remove(v.order, e)
	v.index.drop(e)
	if e.terminal() {
		v.finished = remove(v.finished, e)
		v.kept -= e.kept
	} else {
		v.deactivate(e)
	}
	if e.open != nil {
		e.open.ended = nil // no event waits for its log any more
	}
	v.forgotten++
}

// list puts an entry among those that have ended, by what the stream says of their order and not by its clock, which may be set.
func (v *View) list(e *entry, job *jobs.Job) {
	v.finished = insert(v.finished, e, byEnd)
	v.lookAround(e)
	if e.logBytes = job.LogBytes; job.Kept != nil {
		e.kept = job.Kept.Bytes
	}
	v.kept += e.kept
}

// lookAround looks whether the ends around that of an entry come in the order of their times.
func (v *View) lookAround(e *entry) {
	at := len(v.finished) - 1
	for at >= 0 && v.finished[at] != e {
		at--
	}
	around := v.finished[max(at-1, 0):min(at+2, len(v.finished))]
	v.unsorted = v.unsorted || !slices.IsSortedFunc(around, func(a, b *entry) int { return a.end.Compare(b.end) })
}
