package worker

import (
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
	// changes is a task that changes its lab: it waits for its directory and for a slot. Others run beside it.
	changes bool
}

func (t *task) action() jobs.Action { return t.entry.Birth.Action }

// queue decides which task runs next: first come, first served, one changing task a directory, slots in all. Those that change
// nothing take no slot, and wait for others of their action alone.
type queue struct {
	mu      sync.Mutex
	slots   int
	waiting []*task
	busy    map[string]bool
	running int
	reading map[jobs.Action]int
}

func newQueue(slots int) *queue {
	return &queue{slots: max(slots, 1), busy: map[string]bool{}, reading: map[jobs.Action]int{}}
}

func (q *queue) add(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, t)
}

// next takes the first task that may run now, or nil. Whoever gets one calls done in the end.
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

func (q *queue) done(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.changes {
		q.running--
		delete(q.busy, t.key)
	} else {
		q.reading[t.action()]--
	}
}

// move puts a task that was taken back among the waiting, in order of arrival, under another key.
func (q *queue) move(t *task, key string) {
	q.done(t)
	q.mu.Lock()
	defer q.mu.Unlock()
	t.key = key
	at := slices.IndexFunc(q.waiting, func(other *task) bool { return other.entry.Seq > t.entry.Seq })
	if at < 0 {
		at = len(q.waiting)
	}
	q.waiting = slices.Insert(q.waiting, at, t)
}

// counts says how many tasks run and how many wait.
func (q *queue) counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	running = q.running
	for _, n := range q.reading {
		running += n
	}
	return running, len(q.waiting)
}
