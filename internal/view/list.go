package view

import (
	"encoding/base64"
	"errors"
	"fmt"

	"netlab-runner/internal/jobs"
)

// ErrCursor is a cursor that no page of ours gave, or whose job is there no more in a store that the bus has got since.
var ErrCursor = errors.New("cursor: not one that a page gave as next: leave it out to begin with the newest")

// Filter chooses jobs. An empty field matches all.
type Filter struct {
	State      jobs.State
	Action     jobs.Action
	User       string
	Workspace  string
	Deployment string
	Host       string
}

// matches says whether a job with these traits is one that the filter chooses.
func (f *Filter) matches(has *Filter) bool {
	return (f.State == "" || f.State == has.State) &&
		(f.Action == "" || f.Action == has.Action) &&
		(f.User == "" || f.User == has.User) &&
		(f.Workspace == "" || f.Workspace == has.Workspace) &&
		(f.Deployment == "" || f.Deployment == has.Deployment) &&
		(f.Host == "" || f.Host == has.Host)
}

// Listed is a job of a page.
type Listed struct {
	Shown
	birth uint64
	made  int64
}

// Cursor is that of the page behind the job. It holds also when the job is there no more.
func (l *Listed) Cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %d %s", l.birth, l.made, l.entry.created, l.ID))
}

// place is that of a job: its birth in a stream that was made at that time, which are other ones when the bus has lost something since; and
// what it is found by then. Times are in nanoseconds since 1970.
type place struct {
	birth         uint64
	made, created int64
	id            string
}

func parseCursor(cursor string) (p place, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return p, ErrCursor
	}
	if _, err := fmt.Sscanf(string(text), "%d %d %d %s", &p.birth, &p.made, &p.created, &p.id); err != nil {
		return p, ErrCursor
	}
	return p, nil
}

// Page returns at most limit jobs, newest first, from behind cursor (empty: from the newest), and the cursor of the next
// page, empty when there is none. Jobs that are born or let go meanwhile move no page.
func (v *View) Page(f Filter, limit int, cursor string) (page []Listed, next string, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	page = []Listed{}
	var behind *entry
	if cursor != "" {
		if behind, err = v.placeOf(cursor); err != nil {
			return nil, "", err
		}
	}
	for e := range v.index.find(&f, v.order, behind) {
		if len(page) == limit {
			return page, page[limit-1].Cursor(), nil
		}
		page = append(page, Listed{v.show(e), e.birth, v.made.UnixNano()})
	}
	return page, "", nil
}

// placeOf is an entry at the place of a cursor: that of its job, or one where that was.
func (v *View) placeOf(cursor string) (*entry, error) {
	p, err := parseCursor(cursor)
	if err != nil {
		return nil, err
	}
	if e := v.jobs[p.id]; e != nil && e.created == p.created {
		return e, nil
	}
	if p.made != v.made.UnixNano() {
		return nil, ErrCursor
	}
	return &entry{birth: p.birth, id: p.id}, nil
}
