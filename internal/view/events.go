package view

import (
	"maps"
	"sort"

	"netlab-runner/internal/jobs"
)

const (
	// maxEvents and maxEventBytes bound the events that are kept for followers. A job is of hundreds of KiB at most.
	maxEvents     = 8192
	maxEventBytes = 32 << 20
	// cancelSize is about what the event of a cancel request adds to what is kept already.
	cancelSize = 1 << 10
)

// Event is a job as it was shown from one message of its life on.
type Event struct {
	// ID is the place of the message in the jobs stream.
	ID  EventID
	Job jobs.Job

	size int
}

// events has what happened to the jobs lately, in the order of the jobs stream.
//
// A terminal state is told when it is shown: when the job's log is whole. What comes behind it in the stream is told behind
// it. So one sequence says what a follower knows: everything up to it.
type events struct {
	// recent are the events that are told, the oldest first: all of those after start.
	recent []*Event
	bytes  int
	start  uint64
	// told is up to which sequence everything is told, heard the sequence of the newest message.
	told, heard uint64
	// generation is how often the stream was lost: its sequences mean nothing beyond that.
	generation int
	// silent says that followers wait until all is read that has happened before, and the ends of it are shown for which the logs of
	// these jobs are waited: then they are told how every job is.
	silent  bool
	awaited map[*entry]struct{}
	// held are those that are not told yet.
	held []heldEvent
	// changed is closed when an event is told.
	changed chan struct{}
	// observe gets every event's job, with the view locked.
	observe func(*jobs.Job)
	// maxEvents and maxBytes are the constants, less in tests.
	maxEvents, maxBytes int
}

// heldEvent is an event with the job as its message has it.
type heldEvent struct {
	Event
	entry *entry
}

func newEvents() events {
	return events{silent: true, changed: make(chan struct{}), observe: func(*jobs.Job) {}, maxEvents: maxEvents, maxBytes: maxEventBytes}
}

// Observe calls f for every event from now on, in order. f must not block, and not call the view.
func (v *View) Observe(f func(*jobs.Job)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events.observe = f
}

// happened makes an event of a message that came by following the stream, each once and in its order.
func (v *View) happened(e *entry, seq uint64, job *jobs.Job, size int) {
	ev := &v.events
	if v.starting() {
		// It happened before.
		if ev.heard = max(ev.heard, seq); e != nil {
			e.told = max(e.told, seq)
		}
		return
	}
	if seq <= ev.heard {
		return // the stream is followed anew
	}
	ev.heard = seq
	if job != nil {
		ev.held = append(ev.held, heldEvent{Event{ID: EventID{seq, v.madeAt()}, Job: *job, size: size}, e})
	}
	v.tell()
}

// cancelHappened makes an event of a cancel request, unless the job has moved on since.
func (v *View) cancelHappened(e *entry, seq uint64) {
	if e == nil || e.seq > seq || e.terminal() {
		v.happened(e, seq, nil, 0)
		return
	}
	v.happened(e, seq, &e.open.job, cancelSize)
}

// awaitEnds takes in that all is read that had happened before. An end of it that is not shown yet would be told by nobody later.
func (v *View) awaitEnds() {
	ev := &v.events
	ev.start, ev.told, ev.awaited = ev.heard, ev.heard, map[*entry]struct{}{}
	for _, active := range v.active {
		for _, e := range active {
			if e.ending() != nil {
				ev.awaited[e] = struct{}{}
			}
		}
	}
	v.tell()
}

// endSilence lets followers go on where nothing is waited for any more, and says whether they may.
func (v *View) endSilence() bool {
	ev := &v.events
	if !ev.silent {
		return true
	}
	maps.DeleteFunc(ev.awaited, func(e *entry, _ struct{}) bool { return e.ending() == nil })
	if v.starting() || len(ev.awaited) > 0 {
		return false
	}
	ev.silent = false
	ev.wake()
	return true
}

// tell lets out the events that are held for nothing any more.
func (v *View) tell() {
	if !v.endSilence() {
		return
	}
	ev := &v.events
	n := 0
	for n < len(ev.held) {
		if h := &ev.held[n]; h.Job.State.Terminal() && h.entry.ending() != nil {
			break
		}
		v.tellOne(&ev.held[n])
		ev.held[n] = heldEvent{}
		n++
	}
	if ev.held = ev.held[n:]; len(ev.held) == 0 {
		ev.held, ev.told = nil, ev.heard
	} else {
		ev.told = ev.held[0].ID.Seq - 1
	}
	if n > 0 {
		ev.wake()
	}
}

// wake has followers look again.
func (ev *events) wake() {
	close(ev.changed)
	ev.changed = make(chan struct{})
}

func (v *View) tellOne(h *heldEvent) {
	e, job := h.entry, h.Job
	if job.State.Terminal() || e.traits.Value().State == jobs.Queued {
		job = v.shown(e) // with what was found out since, and what it waits for
	} else {
		job.LogPath, job.LogBytes = v.logs.Path(job.ID), v.logs.Get(job.ID).Size()
		job.CancelRequested = job.CancelRequested || e.canceled > 0
	}
	e.told = h.ID.Seq
	ev := &v.events
	ev.recent = append(ev.recent, &Event{ID: h.ID, Job: job, size: h.size})
	ev.bytes += h.size
	for len(ev.recent) > ev.maxEvents || ev.bytes > ev.maxBytes && len(ev.recent) > 1 {
		ev.start = ev.recent[0].ID.Seq
		ev.bytes -= ev.recent[0].size
		ev.recent[0] = nil
		ev.recent = ev.recent[1:]
	}
	ev.observe(&job)
}

// after returns where in recent the events after a sequence begin.
func (ev *events) after(seq uint64) int {
	return sort.Search(len(ev.recent), func(i int) bool { return ev.recent[i].ID.Seq > seq })
}
