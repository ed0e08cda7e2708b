package view

import "sync"

// removals takes logs away one after the other: were each waited for by itself, a disk that hangs would take a thread for each.
type removals struct {
	mu    sync.Mutex
	queue []func()
	busy  bool
}

// add has f called when its turn comes.
func (r *removals) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, f)
	if !r.busy {
		r.busy = true
		go r.work()
	}
}

func (r *removals) work() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.queue, r.busy = nil, false
			r.mu.Unlock()
			return
		}
		f := r.queue[0]
		r.queue[0], r.queue = nil, r.queue[1:]
		r.mu.Unlock()
		f()
	}
}
