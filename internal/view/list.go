package view

import (
	"encoding/base64"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"

	"netlab-runner/internal/jobs"
)

// ErrCursor is a cursor that no page of ours gave.
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
	*Shown
	birth uint64
}

// Cursor is that of the page behind the job. It holds also when the job is there no more.
func (l *Listed) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(l.birth, 10) + " " + l.ID))
}

// Page returns at most limit jobs, newest first, from behind cursor (empty: from the newest), and the cursor of the next
// page, empty when there is none. Jobs that are born or let go meanwhile move no page.
func (v *View) Page(f Filter, limit int, cursor string) (page []Listed, next string, err error) {
	before, id := ^uint64(0), ""
	if cursor != "" {
		text, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			return nil, "", ErrCursor
		}
		var birth string
		birth, id, _ = strings.Cut(string(text), " ")
		if before, err = strconv.ParseUint(birth, 10, 64); err != nil {
			return nil, "", ErrCursor
		}
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e := v.jobs[id]; e != nil {
		before = e.birth // another one where the bus has lost its store since
	}
	page = []Listed{}
	list := v.index.narrow(&f, v.order)
	from := sort.Search(len(list), func(i int) bool { return list[i].birth >= before })
	for _, e := range slices.Backward(list[:from]) {
		if has := e.traits.Value(); !f.matches(&has) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].Cursor(), nil
		}
		page = append(page, Listed{v.show(e), e.birth})
	}
	return page, "", nil
}
