package worker

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

func named(id, key string, changes bool) *task {
	return &task{entry: &entry{Birth: &bus.Birth{Job: jobs.Job{ID: id}}}, key: key, changes: changes}
}

// started takes every task that may run now.
func started(q *queue, running map[string]*task) []string {
	ids := []string{}
	for t := q.next(); t != nil; t = q.next() {
		ids = append(ids, t.entry.Birth.ID)
		running[t.entry.Birth.ID] = t
	}
	slices.Sort(ids)
	return ids
}

func TestQueue(t *testing.T) {
	t.Parallel()
	q, running := newQueue(2), map[string]*task{}
	for _, task := range []*task{
		named("a1", "/a", true), named("a2", "/a", true), named("a-status", "/a", false),
		named("b1", "/b", true), named("c1", "/c", true), named("a3", "/a", true),
	} {
		q.expect()
		q.add(task)
	}
	steps := []struct {
		done string
		want []string
	}{
		// One a directory, two slots, and a reader beside them.
		{want: []string{"a-status", "a1", "b1"}},
		{done: "a-status", want: []string{}},
		// A free slot goes to the first that may use it.
		{done: "a1", want: []string{"a2"}},
		{done: "b1", want: []string{"c1"}},
		// Its directory is busy.
		{done: "c1", want: []string{}},
		{done: "a2", want: []string{"a3"}},
		{done: "a3", want: []string{}},
	}
	for i, step := range steps {
		if step.done != "" {
			q.leave(running[step.done])
			q.free(running[step.done])
		}
		if diff := cmp.Diff(step.want, started(q, running)); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	if r, w := q.counts(); r+w != 0 {
		t.Errorf("%d running, %d waiting at the end", r, w)
	}
}

// A task that has given back its slot keeps its directory until it is free, and one that comes late gets its place of arrival.
func TestQueueKeepsADirectory(t *testing.T) {
	t.Parallel()
	q, running := newQueue(1), map[string]*task{}
	for i, task := range []*task{named("a1", "/a", true), named("a3", "/a", true), named("b1", "/b", true), named("a2", "/a", true)} {
		task.entry.Seq = []uint64{1, 3, 4, 2}[i]
		q.expect()
		q.add(task)
	}
	q.expect()
	if got := started(q, running); !slices.Equal(got, []string{"a1"}) {
		t.Errorf("%v", got)
	}
	if _, waiting := q.counts(); waiting != 4 {
		t.Errorf("%d waiting", waiting)
	}
	q.leave(running["a1"])
	if got := started(q, running); !slices.Equal(got, []string{"b1"}) {
		t.Errorf("%v while the directory is kept", got)
	}
	q.leave(running["b1"])
	q.free(running["a1"])
	if got := started(q, running); !slices.Equal(got, []string{"a2"}) {
		t.Errorf("%v", got)
	}
}

func TestQueueBoundsReaders(t *testing.T) {
	t.Parallel()
	q := newQueue(1)
	reads := func(action jobs.Action) *task {
		task := named("r", "/a", false)
		task.entry.Birth.Action = action
		return task
	}
	for range hosts.Readers + 3 {
		q.expect()
		q.add(reads(jobs.Validate))
	}
	if n := len(started(q, map[string]*task{})); n != hosts.Readers {
		t.Errorf("%d at once, want %d", n, hosts.Readers)
	}
	// A status waits for no validation.
	status := reads(jobs.Status)
	q.expect()
	q.add(status)
	if n := len(started(q, map[string]*task{})); n != 1 {
		t.Errorf("%d started beside the others, want 1", n)
	}
	if running, waiting := q.counts(); running != hosts.Readers+1 || waiting != 3 {
		t.Errorf("%d running, %d waiting", running, waiting)
	}
	q.leave(status)
	if running, _ := q.counts(); running != hosts.Readers {
		t.Errorf("%d running", running)
	}
}
