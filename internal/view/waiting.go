package view

import (
	"sort"
	"time"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// queueID names a queue of a host: that of the jobs that change labs, with no action, or that of the other jobs of an action. No
// queue waits for another.
type queueID struct {
	host   string
	action jobs.Action
}

func (e *entry) queue() queueID {
	if e.open.job.Action.Changes() {
		return queueID{host: e.open.job.Host}
	}
	return queueID{e.open.job.Host, e.open.job.Action}
}

// place is what a job has to itself in its queue while it runs: its working directory, or nothing that another one wants.
func (e *entry) place() string {
	if e.open.job.Action.Changes() {
		return e.open.job.Workdir
	}
	return e.id
}

// queue has the jobs that have not ended, each list in the order of births.
type queue struct {
	// places has the jobs by what they have to themselves.
	places map[string][]*entry
	// running are those that have begun; first are those that have not, and have no other before them in their place.
	running, first []*entry
}

// enqueue puts a job that has not ended into its queue.
func (v *View) enqueue(e *entry) {
	q := v.queues[e.queue()]
	if q == nil {
		q = &queue{places: map[string][]*entry{}}
		v.queues[e.queue()] = q
	}
	q.change(e.place(), func(list []*entry) []*entry { return insert(list, e, byBirth) })
	if e.open.job.State != jobs.Queued {
		q.running = insert(q.running, e, byBirth)
	}
}

// dequeue takes a job out of its queue, before it is changed.
func (v *View) dequeue(e *entry) {
	q := v.queues[e.queue()]
	q.change(e.place(), func(list []*entry) []*entry { return remove(list, e) })
	if e.open.job.State != jobs.Queued {
		q.running = remove(q.running, e)
	}
	if len(q.places) == 0 {
		delete(v.queues, e.queue())
	}
}

// change changes the list of a place, and with it who is first there.
func (q *queue) change(place string, how func([]*entry) []*entry) {
	list := q.places[place]
	if len(list) > 0 {
		q.first = remove(q.first, list[0])
	}
	if list = how(list); len(list) == 0 {
		delete(q.places, place)
		return
	}
	q.places[place] = list
	if list[0].open.job.State == jobs.Queued {
		q.first = insert(q.first, list[0], byBirth)
	}
}

// requeue makes all queues anew, of jobs whose order has changed.
func (v *View) requeue() {
	clear(v.queues)
	for _, active := range v.active {
		for _, e := range active {
			v.enqueue(e)
		}
	}
}

// before counts the entries of a list, in the order of births, that were born before e.
func before(list []*entry, e *entry) int {
	return sort.Search(len(list), func(i int) bool { return byBirth(list[i], e) >= 0 })
}

// waiting works out what keeps a queued job from running, from the jobs born before it on its host.
func (v *View) waiting(e *entry) *jobs.Waiting {
	h := v.hosts[e.open.job.Host]
	if h == nil || !v.online(h, time.Now()) {
		return &jobs.Waiting{For: "host"}
	}
	q, slots := v.queues[e.queue()], hosts.Readers
	if e.open.job.Action.Changes() {
		slots = h.host.Slots
	}
	same := q.places[e.place()]
	if n := before(same, e); n > 0 {
		return &jobs.Waiting{For: "job", Job: same[n-1].id, Position: n}
	}
	// Those before it that only want a slot too.
	ahead := before(q.first, e)
	switch {
	case before(q.running, e)+ahead >= slots:
		return &jobs.Waiting{For: "slot", Position: ahead}
	case h.host.Error != "":
		return &jobs.Waiting{For: "host"}
	}
	return nil // it is about to start
}
