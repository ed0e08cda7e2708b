package worker

import (
	"context"
	"slices"
	"sync"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// task is a job that waits or runs.
type task struct {
	entry *entry
	// key is the working directory with symlinks resolved.
	key string
	// runs says that the job has a run already, or may have one: where key is set, in that directory, wherever its path leads by now.
	runs bool
	// changes is a task that changes its lab: it waits for its directory and for a slot. Others run beside it.
	changes bool
	// working is held by what the task does in its working directory, which may hang beyond the end of its job.
	working sync.Mutex
}

func (t *task) action() jobs.Action { return t.entry.Birth.Action }

// before says whether the task has its turn before the other: those that run have it already, and then it goes by their arrival.
func (t *task) before(other *task) bool {
	if t.runs != other.runs {
		return t.runs
	}
	return t.entry.Seq < other.entry.Seq
}

// isIdle says whether nothing of the task works in its directory.
func (t *task) isIdle() bool {
	idle := t.working.TryLock()
	if idle {
		t.working.Unlock()
	}
	return idle
}

// awaitIdle returns when nothing of the task works in its directory any more, or the context's error.
func (t *task) awaitIdle(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		t.working.Lock()
		defer t.working.Unlock()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// queue decides which task runs next: first come, first served, one changing task a directory, slots in all. Those that change
// nothing take no slot, and wait for others of their action alone.
type queue struct {
	mu    sync.Mutex
	slots int
	// closed says that no task is to begin yet.
	closed  bool
	waiting []*task
	// coming are those, by the path of their directory, of which it is not known yet where that leads.
	coming  map[string][]*task
	busy    map[string]bool
	running int
	reading map[jobs.Action]int
}

func newQueue(slots int) *queue {
	return &queue{slots: max(slots, 1), coming: map[string][]*task{}, busy: map[string]bool{}, reading: map[jobs.Action]int{}}
}

// expect takes a task in of whose path it is not known yet where it leads, and says whether there was none before.
func (q *queue) expect(t *task) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	path := t.entry.Birth.Workdir
	q.coming[path] = append(q.coming[path], t)
	return len(q.coming[path]) == 1
}

// found puts the tasks that are expected among the waiting whose path leads to the directory key.
func (q *queue) found(path, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.coming[path] {
		t.key = key
		q.insert(t)
	}
	delete(q.coming, path)
}

// add puts a task among the waiting.
func (q *queue) add(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.insert(t)
}

func (q *queue) insert(t *task) {
	at := len(q.waiting)
	for at > 0 && t.before(q.waiting[at-1]) {
		at--
	}
	q.waiting = slices.Insert(q.waiting, at, t)
}

// close keeps tasks from beginning until open.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = false
}

// next takes the first task that may run now, or nil. Whoever gets one calls leave in the end, and then free. One that runs needs no slot
// to go on.
func (q *queue) next() *task {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	for i, t := range q.waiting {
		if t.changes && (q.running >= q.slots && !t.runs || q.busy[t.key]) || !t.changes && q.reading[t.action()] == hosts.Readers {
			continue
		}
		q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
		if t.changes {
			q.running++
			q.busy[t.key] = true
		} else {
			q.reading[t.action()]++
		}
		return t
	}
	return nil
}

// move puts a task that was taken back among the waiting, as one of another directory.
func (q *queue) move(t *task, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.yield(t)
	delete(q.busy, t.key)
	t.key = key
	q.insert(t)
}

// leave gives back the slot of a task.
func (q *queue) leave(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.yield(t)
}

func (q *queue) yield(t *task) {
	if t.changes {
		q.running--
	} else {
		q.reading[t.action()]--
	}
}

// free lets the next task have the directory of one that has left.
func (q *queue) free(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.changes {
		delete(q.busy, t.key)
	}
}

// counts says how many tasks run and how many wait.
func (q *queue) counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	running = q.running
	for _, n := range q.reading {
		running += n
	}
	waiting = len(q.waiting)
	for _, list := range q.coming {
		waiting += len(list)
	}
	return running, waiting
}
