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

// A task that has given back its slot keeps its directory until it is free. One that comes late, or is moved, gets its place of arrival.
func TestQueueKeepsDirectoriesAndOrder(t *testing.T) {
	t.Parallel()
	q, running := newQueue(1), map[string]*task{}
	tasks := map[string]*task{}
	for i, id := range []string{"a1", "a2", "a3", "b1", "a4"} {
		tasks[id] = named(id, "", true)
		tasks[id].entry.Birth.Workdir, tasks[id].entry.Seq = "/"+id[:1], uint64(i)
	}
	next := func(when string, want ...string) {
		t.Helper()
		if got := started(q, running); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	if !q.expect(tasks["a1"]) {
		t.Error("there was another one before the first")
	}
	q.found("/a", "/dir")
	next("the first", "a1")
	if !q.expect(tasks["b1"]) || !q.expect(tasks["a2"]) || q.expect(tasks["a3"]) {
		t.Error("it is not known which is the first of its path")
	}
	if _, waiting := q.counts(); waiting != 3 {
		t.Errorf("%d waiting", waiting)
	}
	q.found("/b", "/b")
	q.found("/a", "/dir")
	q.leave(running["a1"])
	next("while the directory is kept", "b1")
	q.leave(running["b1"])
	q.free(running["a1"])
	next("when it is free", "a2")
	tasks["a4"].key = "/other"
	q.add(tasks["a4"])
	q.move(running["a2"], "/other")
	next("when it was moved", "a2")
	q.leave(running["a2"])
	next("in the directory where it was", "a3")
	q.leave(running["a3"])
	q.free(running["a2"])
	next("behind it", "a4")
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
		q.add(reads(jobs.Validate))
	}
	if n := len(started(q, map[string]*task{})); n != hosts.Readers {
		t.Errorf("%d at once, want %d", n, hosts.Readers)
	}
	// A status waits for no validation.
	status := reads(jobs.Status)
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
