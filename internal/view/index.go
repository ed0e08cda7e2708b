package view

import (
	"iter"
	"math"
	"slices"
	"sync"
	"unique"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"netlab-runner/internal/jobs"
)

// traits are the fields of a job that a list can be filtered by. Few jobs have others than all before them, so that they are kept
// once for all that have the same.
type traits = unique.Handle[Filter]

func traitsOf(j *jobs.Job) traits { return unique.Make(filterOf(j)) }

// filterOf is the narrowest filter that matches the job.
func filterOf(j *jobs.Job) Filter {
	return Filter{State: j.State, Action: j.Action, User: j.User, Workspace: j.Workspace, Deployment: j.Deployment, Host: j.Host}
}

// term is a field and a value that it has.
type term struct{ field, value string }

// terms are the fields of the filter, the same ones in the same order for every filter. A value may be empty.
func (f *Filter) terms() [6]term {
	return [...]term{
		{"state", string(f.State)},
		{"action", string(f.Action)},
		{"user", f.User},
		{"workspace", f.Workspace},
		{"deployment", f.Deployment},
		{"host", f.Host},
	}
}

// index has, for each value of each field, the jobs that have it.
type index struct {
	lists map[term]*list
	// glance is how many jobs of the shortest list are looked at, one by one, before the lists are put over each other.
	glance int
}

// newIndex: what most of the jobs match is found at a glance, which costs no more than a page where it is not.
func newIndex() index { return index{lists: map[term]*list{}, glance: 200} }

// list are the jobs with a value, in the order of their births.
type list struct {
	entries []*entry
	// births are theirs, from when they were first asked for on; guarded by mu, so that who only reads the view may make them.
	births *roaring64.Bitmap
	mu     sync.Mutex
}

// move takes an entry that had other traits, or the zero ones, from the lists of these to those of its own.
func (x index) move(e *entry, from Filter) {
	has := e.traits.Value()
	now, before := has.terms(), from.terms()
	for i := range now {
		if now[i] != before[i] {
			x.remove(e, before[i])
			x.insert(e, now[i])
		}
	}
}

func (x index) insert(e *entry, t term) {
	if t.value == "" {
		return
	}
	l := x.lists[t]
	if l == nil {
		l = &list{}
		x.lists[t] = l
	}
	l.entries = insert(l.entries, e, byBirth)
	if l.births != nil {
		l.births.Add(e.birth)
	}
}

func (x index) remove(e *entry, t term) {
	l := x.lists[t]
	if l == nil {
		return
	}
	if l.entries = remove(l.entries, e); len(l.entries) == 0 {
		delete(x.lists, t)
	}
	if l.births == nil {
		return
	}
	// Another one may have the same: of those that a loss has left without one, say.
	if at := countUpTo(l.entries, func(other *entry) bool { return other.birth > e.birth }); at == 0 || l.entries[at-1].birth != e.birth {
		l.births.Remove(e.birth)
	}
}

// drop takes an entry out of all lists.
func (x index) drop(e *entry) {
	has := e.traits.Value()
	for _, t := range has.terms() {
		x.remove(e, t)
	}
}

// find goes over the jobs that the filter matches, newest first, from behind one on (nil: from the newest on). all are those there are.
//
// It looks at one after the other of the shortest list. Where many of that lack another value that is asked for, it goes on with what all
// of the lists have, so that two values which many jobs have and few have both cost no more than others.
func (x index) find(f *Filter, all []*entry, behind *entry) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		lists, ok := x.narrow(f)
		if !ok {
			return
		}
		rest := all
		if len(lists) > 0 {
			rest = lists[0].entries
		}
		if behind != nil {
			rest = rest[:before(rest, behind)]
		}
		for looked := 0; len(rest) > 0 && (looked < x.glance || len(lists) < 2); looked++ {
			e := rest[len(rest)-1]
			rest = rest[:len(rest)-1]
			if has := e.traits.Value(); f.matches(&has) && !yield(e) {
				return
			}
		}
		if len(rest) == 0 {
			return
		}
		for birth := range common(lists, rest[len(rest)-1].birth) {
			rest = rest[:countUpTo(rest, func(e *entry) bool { return e.birth > birth })]
			// There may be several.
			for ; len(rest) > 0 && rest[len(rest)-1].birth == birth; rest = rest[:len(rest)-1] {
				e := rest[len(rest)-1]
				if has := e.traits.Value(); f.matches(&has) && !yield(e) {
					return
				}
			}
		}
	}
}

// narrow returns the lists of the values that the filter asks for, the shortest first; not ok: of one there is no job.
func (x index) narrow(f *Filter) (lists []*list, ok bool) {
	for _, t := range f.terms() {
		if t.value == "" {
			continue
		}
		l := x.lists[t]
		if l == nil {
			return nil, false
		}
		if lists = append(lists, l); len(l.entries) < len(lists[0].entries) {
			lists[0], lists[len(lists)-1] = l, lists[0]
		}
	}
	return lists, true
}

// common are the births up to this one that all of the lists have, newest first.
func common(lists []*list, newest uint64) iter.Seq[uint64] {
	var all []*roaring64.Bitmap
	for _, l := range lists {
		all = append(all, l.allBirths())
	}
	wanted := roaring64.FastAnd(all...)
	wanted.RemoveRange(newest+1, math.MaxUint64)
	return func(yield func(uint64) bool) {
		for births := wanted.ReverseIterator(); births.HasNext(); {
			if !yield(births.Next()) {
				return
			}
		}
	}
}

// allBirths are kept from when they are first asked for on: most lists are never put over others.
func (l *list) allBirths() *roaring64.Bitmap {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.births == nil {
		l.births = roaring64.New()
		for _, e := range l.entries {
			l.births.Add(e.birth)
		}
	}
	return l.births
}

// sort puts the lists into the order of births, where these have changed.
func (x index) sort() {
	for _, l := range x.lists {
		slices.SortStableFunc(l.entries, byBirth)
		l.births = nil
	}
}
