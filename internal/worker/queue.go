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
	// began says that the job has a run already, in the directory key wherever its path leads by now.
	began bool
	// changes is a task that changes its lab: it waits for its directory and for a slot. Others run beside it.
	changes bool
	// working is held by what the task does in its working directory, which may hang beyond the end of its job.
	working sync.Mutex
}

func (t *task) action() jobs.Action { return t.entry.Birth.Action }

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
	mu      sync.Mutex
	slots   int
	waiting []*task
	// coming are those that are not among the waiting yet.
	coming  int
	busy    map[string]bool
	running int
	reading map[jobs.Action]int
}

func newQueue(slots int) *queue {
	return &queue{slots: max(slots, 1), busy: map[string]bool{}, reading: map[jobs.Action]int{}}
}

// expect counts a task that will be added.
func (q *queue) expect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.coming++
}

// add puts a task that was expected among the waiting, in order of arrival.
func (q *queue) add(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.coming--
	at := len(q.waiting)
	for at > 0 && q.waiting[at-1].entry.Seq > t.entry.Seq {
		at--
	}
	q.waiting = slices.Insert(q.waiting, at, t)
}

// next takes the first task that may run now, or nil. Whoever gets one calls leave in the end, and then free.
func (q *queue) next() *task {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, t := range q.waiting {
		if t.changes && (q.running == q.slots || q.busy[t.key]) || !t.changes && q.reading[t.action()] == hosts.Readers {
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

// leave gives back the slot of a task.
func (q *queue) leave(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
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
	return running, len(q.waiting) + q.coming
}
