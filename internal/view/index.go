package view

import (
	"slices"
	"unique"

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

// index has, for each value of each field, the jobs that have it, in the order of their births. To find the list of a value is most of what a
// job costs here, so what is found can be changed.
type index map[term]*[]*entry

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
	list := x[t]
	if list == nil {
		list = new([]*entry)
		x[t] = list
	}
	*list = insert(*list, e, byBirth)
}

func (x index) remove(e *entry, t term) {
	list := x[t]
	if list == nil {
		return
	}
	if *list = remove(*list, e); len(*list) == 0 {
		delete(x, t)
	}
}

// drop takes an entry out of all lists.
func (x index) drop(e *entry) {
	has := e.traits.Value()
	for _, t := range has.terms() {
		x.remove(e, t)
	}
}

// narrow returns the shortest of the lists that have every job that the filter matches; all where it asks for nothing.
func (x index) narrow(f *Filter, all []*entry) []*entry {
	shortest := all
	for _, t := range f.terms() {
		if t.value == "" {
			continue
		}
		list := x[t]
		if list == nil {
			return nil
		}
		if len(*list) < len(shortest) {
			shortest = *list
		}
	}
	return shortest
}

// sort puts the lists into the order of births, where these have changed.
func (x index) sort() {
	for _, list := range x {
		slices.SortStableFunc(*list, byBirth)
	}
}
