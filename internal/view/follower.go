package view

import (
	"cmp"
	"context"
	"slices"
)

// batch is how many events a follower takes at once.
const batch = 16

// Follower gives one reader the events of the jobs that it is interested in. It holds up nobody: one that is slow, or was
// away, gets the present state of each job where the events themselves are not kept any more. So it may miss a state between
// two, and never the newest one. It is for one goroutine.
type Follower struct {
	view   *View
	filter Filter
	// id is the one job, empty for all.
	id string
	// after is up to where the reader knows everything, in the stream that was made then.
	after uint64
	made  int64
	// generation is that of the events when they were last looked at.
	generation int
	// fresh is a reader that has nothing and was told nothing yet, onTrust one of which it is to be seen whether it is.
	fresh, onTrust bool
	// current is a reader that was told that it has everything.
	current bool
	// present are states that are told before the events after until, by sequence.
	present []presentState
	until   uint64
}

type presentState struct {
	entry *entry
	told  uint64
}

// Follow follows the job of the id or, where it is empty, those that match the filter, with each state that they come into.
// after is that of the last event that the reader has, from whatever API. nil is a reader that has none: it is told the
// present state of the one job, or of every job that has not ended.
func (v *View) Follow(f Filter, id string, after *EventID) *Follower {
	return v.follow(f, id, after, true)
}

// FollowOnTrust is Follow of a reader whose after nobody can have told it as far as is known. It holds where this view has told of so much:
// meanwhile, it may have caught up with another API. Else the reader is one that has nothing.
func (v *View) FollowOnTrust(f Filter, id string, after *EventID) *Follower {
	return v.follow(f, id, after, false)
}

// follow is Follow of a reader that may be ahead of this view or not.
func (v *View) follow(f Filter, id string, after *EventID, ahead bool) *Follower {
	v.mu.RLock()
	defer v.mu.RUnlock()
	ev := &v.events
	follower := &Follower{view: v, filter: f, id: id, generation: ev.generation, made: v.madeAt()}
	switch {
	case after == nil:
		follower.fresh = true
	case after.Made != 0 && after.Made != follower.made:
		follower.after, follower.made = after.Seq, after.Made // which take finds out, unless nothing was read yet
	case after.Made == 0 && ev.generation > 0 && after.Seq <= ev.start:
		follower.made = 1 // it may be of the stream that was lost, or of any
	default:
		follower.after, follower.onTrust = after.Seq, !ahead
	}
	if ev.silent {
		return follower
	}
	if follower.trust(); follower.fresh {
		follower.begin()
	}
	return follower
}

// trust settles what is to be thought of a reader on trust, when all is read.
func (f *Follower) trust() {
	if f.onTrust && f.after > f.view.events.told {
		f.fresh, f.after = true, 0
	}
	f.onTrust = false
}

// madeAt is the Made of the ids of events, 0 while nothing was read.
func (v *View) madeAt() int64 {
	switch {
	case v.made.IsZero():
		return 0
	case v.lossAt.After(v.made):
		return v.lossAt.UnixNano()
	default:
		return v.made.UnixNano()
	}
}

// isOutdated says whether what the reader knows is numbered by a stream that is no more: it is told how every job is.
func (f *Follower) isOutdated() bool {
	made := f.view.madeAt()
	return f.generation != f.view.events.generation || f.made != made && f.made != 0 && made != 0
}

// EventsUpTo is up to which sequence events are told.
func (v *View) EventsUpTo() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.events.told
}

// After is up to where the reader knows everything, or everything of the one job.
func (f *Follower) After() EventID { return EventID{f.after, f.made} }

// Over says whether it is one job that is followed, and it has ended, and the reader knows. It has ended where it was let go.
func (f *Follower) Over() bool {
	f.view.mu.RLock()
	defer f.view.mu.RUnlock()
	e := f.view.jobs[f.id]
	if f.id == "" || f.present != nil || f.view.events.silent || f.isOutdated() {
		return false
	}
	return e == nil || e.terminal() && e.told >= e.seq && e.told <= f.after
}

// Next returns the next events, in order, as soon as there are any, or the cause of ctx's end. Once it returns none, without
// an error: when the reader first has all that there is.
func (f *Follower) Next(ctx context.Context) ([]Event, error) {
	for {
		events, changed := f.take()
		if len(events) > 0 {
			return events, nil
		}
		if !f.current {
			f.current = true
			return nil, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take returns what there is for the reader, and what is closed when there is more.
func (f *Follower) take() (events []Event, changed <-chan struct{}) {
	v := f.view
	v.mu.RLock()
	defer v.mu.RUnlock()
	ev := &v.events
	if ev.silent {
		return nil, ev.changed
	}
	outdated := f.isOutdated()
	if outdated {
		f.generation, f.after, f.onTrust = ev.generation, 0, false
	}
	f.trust()
	f.made = cmp.Or(v.madeAt(), f.made)
	if f.fresh || outdated || f.present == nil && f.after < ev.start {
		f.begin()
	}
	if f.present != nil {
		if events = f.takePresent(); len(events) > 0 {
			return events, ev.changed
		}
	}
	at := ev.after(f.after)
	for ; at < len(ev.recent) && len(events) < batch; at++ {
		event := ev.recent[at]
		f.after = event.ID.Seq
		if f.wants(event.Job.ID, filterOf(&event.Job)) {
			events = append(events, *event)
		}
	}
	if at == len(ev.recent) {
		f.after = max(f.after, ev.told)
	}
	return events, ev.changed
}

// begin makes ready the present state of each job of which the reader does not have it. A fresh reader has nothing, and wants
// of many jobs only those that have not ended.
func (f *Follower) begin() {
	v, fresh := f.view, f.fresh
	f.fresh = false
	list := []presentState{}
	add := func(e *entry) {
		over := fresh && f.id == "" && e.terminal()
		// One that the bus has lost, and that could not be made known to it again, has no sequence.
		lost := f.id != "" && e.seq == 0
		// A state that is not told yet comes as an event.
		if !over && (e.told > f.after || lost) && e.seq <= e.told && f.wants(e.id, e.traits.Value()) {
			list = append(list, presentState{e, e.told})
		}
	}
	switch {
	case f.id != "":
		if e := v.jobs[f.id]; e != nil {
			add(e)
		}
	case fresh:
		for _, active := range v.active {
			for _, e := range active {
				add(e)
			}
		}
	default:
		for _, e := range v.order {
			add(e)
		}
	}
	slices.SortFunc(list, func(a, b presentState) int { return cmp.Compare(a.told, b.told) })
	f.present, f.until = list, v.events.told
}

// takePresent returns the next of the present states. With the last one, the events after them are next.
func (f *Follower) takePresent() (events []Event) {
	for len(f.present) > 0 && len(events) < batch {
		p := f.present[0]
		f.present = f.present[1:]
		if p.entry.told == p.told && p.entry.seq <= p.told { // else it comes as an event
			events = append(events, Event{ID: EventID{p.told, f.made}, Job: f.view.shown(p.entry)})
			f.after = p.told
		}
	}
	if len(f.present) == 0 {
		f.present = nil
		f.after = max(f.after, f.until)
	}
	return events
}

// wants says whether the reader is interested in a job with this id and these traits.
func (f *Follower) wants(id string, has Filter) bool {
	if f.id != "" {
		return id == f.id
	}
	return f.filter.matches(&has)
}

// One says whether it is one job that is followed.
func (f *Follower) One() bool { return f.id != "" }
