package view

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// model is what a view should know, found out anew by going over all jobs.
type model struct {
	t     *testing.T
	view  *View
	slots map[string]int
	jobs  map[string]*modelJob
	// births counts them, seq the messages of the stream.
	births     int
	first, seq uint64
	losses     int64
	*rand.Rand
}

type modelJob struct {
	jobs.Job
	birth, seq uint64
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{t: t, view: many(t, 0), slots: map[string]int{"h0": 1, "h1": 3}, jobs: map[string]*modelJob{}, Rand: rand.New(rand.NewPCG(seed, 0))}
	m.view.index.glance = int(seed % 3)
	m.first = seed % 2 * (1<<32 - 400)
	m.seq = m.first
	for name, slots := range m.slots {
		m.view.hear(bus.HostEvent{Name: name, Host: &hosts.Host{Name: name, Slots: slots}}, time.Now())
	}
	return m
}

// one returns one of a few values of a field.
func (m *model) one(field string) string { return fmt.Sprint(field, m.IntN(3)) }

func (m *model) next() uint64 {
	m.seq++
	return m.seq
}

// step has something happen to some job.
func (m *model) step() {
	switch n := m.IntN(20); {
	case n < 8 || len(m.jobs) == 0:
		m.born()
	case n < 18:
		m.moved()
	default:
		m.letGo()
	}
}

func (m *model) born() *modelJob {
	m.births++
	j := &modelJob{Job: jobs.Job{
		ID: fmt.Sprint("j", m.births), Action: jobs.Actions[m.IntN(len(jobs.Actions))], State: jobs.Queued, User: m.one("u"), Workspace: m.one("w"),
		Deployment: m.one("d"), Workdir: m.one("/"), Host: fmt.Sprint("h", m.IntN(2)),
	}, birth: m.next()}
	j.seq = j.birth
	m.jobs[j.ID] = j
	birth := &bus.JobMessage{Job: j.Job, Seq: j.birth, Birth: true}
	if m.IntN(4) == 0 {
		// What has become of it is found first.
		m.move(j)
		birth.User = "not known at its birth"
	}
	m.view.take(birth)
	return j
}

func (m *model) moved() { m.move(m.any()) }

func (m *model) move(j *modelJob) {
	events := slices.DeleteFunc(slices.Clone(jobs.Events), func(e jobs.Event) bool {
		copied := j.Job
		return copied.Move(e, time.Unix(1_800_000_000, 0)) != nil
	})
	if len(events) == 0 {
		return
	}
	_ = j.Move(events[m.IntN(len(events))], time.Unix(1_800_000_000, 0)) // one that was tried
	j.User = m.one("u")
	j.seq = m.next()
	m.view.take(&bus.JobMessage{Job: j.Job, Seq: j.seq})
}

func (m *model) letGo() {
	j := m.any()
	m.view.mu.Lock()
	m.view.forget(m.view.jobs[j.ID])
	m.view.mu.Unlock()
	delete(m.jobs, j.ID)
}

func (m *model) any() *modelJob {
	ids := slices.Sorted(maps.Keys(m.jobs))
	return m.jobs[ids[m.IntN(len(ids))]]
}

// lose has the bus lose all. It gets the jobs again in another order, and new ones between them, which come behind those before until all
// are there. Meanwhile check is called.
func (m *model) lose(check func()) {
	m.view.beginReplay()
	m.losses++
	m.view.mu.Lock()
	m.view.reads(time.Unix(m.losses, 0))
	m.view.mu.Unlock()
	newest := m.seq
	m.seq = m.first
	ids := slices.Collect(maps.Keys(m.jobs))
	slices.Sort(ids)
	m.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
	births := map[*modelJob]uint64{}
	for n, id := range ids {
		j := m.jobs[id]
		if j.State != jobs.Queued {
			j.seq = m.next()
			m.view.take(&bus.JobMessage{Job: j.Job, Seq: j.seq})
			if m.IntN(4) == 0 {
				births[j] = 0 // it is not there any more
				continue
			}
		}
		j.seq = m.next()
		births[j] = j.seq
		m.view.take(&bus.JobMessage{Job: j.Job, Seq: j.seq, Birth: true})
		if n%10 == 0 {
			j := m.born()
			newest++
			births[j], j.birth = j.birth, newest
		}
		check()
	}
	page, next, _ := m.view.Page(Filter{}, 3, "")
	m.view.mu.Lock()
	m.view.endReplay()
	m.view.mu.Unlock()
	for j, birth := range births {
		j.birth = birth
	}
	if next == "" {
		return
	}
	// A page from before goes on behind the same job.
	all := m.ids(Filter{})
	want := all[slices.Index(all, page[2].ID)+1:]
	if diff := gocmp.Diff(want[:min(3, len(want))], idsBehind(m.view, next)); len(want) > 0 && diff != "" {
		m.t.Fatalf("behind a page from before: %s", diff)
	}
}

// idsBehind are those of the page behind a cursor.
func idsBehind(v *View, cursor string) (list []string) {
	page, _, _ := v.Page(Filter{}, 3, cursor)
	for _, job := range page {
		list = append(list, job.ID)
	}
	return list
}

func (m *model) filter() Filter {
	f := Filter{}
	for _, set := range []func(){
		func() { f.State = jobs.States[m.IntN(len(jobs.States))] },
		func() { f.Action = jobs.Actions[m.IntN(len(jobs.Actions))] },
		func() { f.User = m.one("u") },
		func() { f.Workspace = m.one("w") },
		func() { f.Deployment = m.one("d") },
		func() { f.Host = m.one("h") },
	} {
		if m.IntN(3) == 0 {
			set()
		}
	}
	return f
}

// sorted are the jobs in the order of their births.
func (m *model) sorted() []*modelJob {
	return slices.SortedFunc(maps.Values(m.jobs), func(a, b *modelJob) int { return cmp.Or(cmp.Compare(a.birth, b.birth), cmp.Compare(a.ID, b.ID)) })
}

func (m *model) ids(f Filter) (ids []string) {
	for _, j := range slices.Backward(m.sorted()) {
		if (f.State == "" || f.State == j.State) && (f.Action == "" || f.Action == j.Action) && (f.User == "" || f.User == j.User) &&
			(f.Workspace == "" || f.Workspace == j.Workspace) && (f.Deployment == "" || f.Deployment == j.Deployment) && (f.Host == "" || f.Host == j.Host) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

// waiting goes over every job before j on its host.
func (m *model) waiting(j *modelJob) *jobs.Waiting {
	slots := m.slots[j.Host]
	if !j.Action.Changes() {
		slots = hosts.Readers
	}
	same := &jobs.Waiting{For: "job"}
	running, ahead, busy := 0, 0, map[string]bool{}
	for _, other := range m.sorted() {
		switch {
		case other.birth >= j.birth || other.Host != j.Host || other.State.Terminal():
			continue
		case !j.Action.Changes():
			if other.Action == j.Action && other.State == jobs.Queued {
				ahead++
			} else if other.Action == j.Action {
				running++
			}
			continue
		case !other.Action.Changes():
			continue
		}
		if other.Workdir == j.Workdir {
			same.Job = other.ID
			same.Position++
		}
		switch {
		case other.State != jobs.Queued:
			running++
		case !busy[other.Workdir]:
			ahead++
		}
		busy[other.Workdir] = true
	}
	switch {
	case same.Position > 0:
		return same
	case running+ahead < slots:
		return nil
	}
	return &jobs.Waiting{For: "slot", Position: ahead}
}

// birthsAreThoseOfTheEntries holds them to the lists beside which they are kept.
func (m *model) birthsAreThoseOfTheEntries() {
	m.t.Helper()
	for t, l := range m.view.index.lists {
		if l.births == nil {
			continue
		}
		var want []uint64
		for _, e := range l.entries {
			want = append(want, e.birth)
		}
		if diff := gocmp.Diff(slices.Compact(want), l.births.ToArray()); diff != "" {
			m.t.Fatalf("births of %v: %s", t, diff)
		}
	}
}

// pages are the ids of all jobs that the filter chooses, page by page.
func pages(t *testing.T, v *View, f Filter) (ids []string) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := v.Page(f, 3, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, job := range page {
			ids = append(ids, job.ID)
		}
		if cursor = next; next == "" {
			return ids
		}
	}
}

// Whatever happens to jobs, in whatever order it is heard of: a list has those that its filter chooses, and what a job waits for is
// what those before it make of it.
func TestListsAndQueuesAreThoseOfAllJobs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		m := newModel(t, seed)
		for n := range 300 {
			check := func() {
				f := m.filter()
				if diff := gocmp.Diff(m.ids(f), pages(t, m.view, f)); diff != "" {
					t.Fatalf("seed %d, step %d, jobs with %+v: %s", seed, n, f, diff)
				}
				m.birthsAreThoseOfTheEntries()
				for id, j := range m.jobs {
					job, _ := m.view.Known(id)
					if job.State != jobs.Queued {
						continue
					}
					if diff := gocmp.Diff(m.waiting(j), job.Waiting); diff != "" {
						t.Fatalf("seed %d, step %d, job %s waits: %s", seed, n, id, diff)
					}
				}
			}
			m.step()
			if n%100 == 99 {
				m.lose(check)
			}
			if n%5 == 0 {
				check()
			}
		}
		m.view.mu.Lock()
		for _, j := range m.jobs {
			m.view.forget(m.view.jobs[j.ID])
		}
		m.view.mu.Unlock()
		if v := m.view; len(v.index.lists)+len(v.queues)+len(v.order)+len(v.finished) > 0 {
			t.Fatalf("seed %d: when all are let go, something is left of them", seed)
		}
	}
}

// A list goes over few jobs where few have one of the values that it is filtered by.
func TestARareValueIsFoundAmongMany(t *testing.T) {
	t.Parallel()
	v := many(t, 5000)
	f := Filter{User: "rare", Host: "a", Action: jobs.Create}
	if lists, _ := v.index.narrow(&f); len(lists[0].entries) != 5 {
		t.Errorf("it goes over %d jobs", len(lists[0].entries))
	}

	v.index.glance = 100
	f = Filter{User: "often", Action: jobs.Create}
	if page, _, err := v.Page(f, 1000, ""); len(page) != 1000 || err != nil {
		t.Fatalf("%d jobs, %v", len(page), err)
	}
	lists, _ := v.index.narrow(&f)
	for _, l := range lists {
		if l.births == nil {
			t.Error("it goes over all that have the one value, whatever others they have")
		}
	}
}

// heard takes in a message as the stream gives it.
func (m *model) heard(j jobs.Job, seq uint64) {
	v := m.view
	v.mu.Lock()
	defer v.mu.Unlock()
	v.takeLocked(&bus.JobMessage{Job: j, Seq: seq, Birth: j.State == jobs.Queued})
	v.happened(v.jobs[j.ID], seq, &j, 1)
}

// Of a job that was let go elsewhere, and whose id is born again, an event may still be held, or a follower may not have been told: it
// waits for nothing any more, and nothing waits for its log.
func TestAFollowedJobIsBornAgain(t *testing.T) {
	t.Parallel()
	job := func(id string, state jobs.State, created, logBytes int64) jobs.Job {
		return jobs.Job{ID: id, Action: jobs.Create, State: state, Host: "h0", Workdir: "/x", CreatedAt: time.Unix(created, 0), LogBytes: logBytes}
	}
	again := func(m *model) {
		m.heard(job("b", jobs.Queued, 900, 0), 20)
		m.heard(job("b", jobs.Canceled, 900, 0), 21)
	}

	m := newModel(t, 1)
	m.heard(job("log", jobs.Queued, 1, 0), 1)
	m.heard(job("log", jobs.Success, 1, 5), 2) // its log has not come
	m.heard(job("b", jobs.Queued, 2, 0), 3)    // is told behind it
	again(m)
	if err := m.view.append(&bus.Chunk{Host: "h0", Job: "log", Text: []byte("12345")}); err != nil {
		t.Fatal(err)
	}
	if n := len(m.view.events.held); n > 0 {
		t.Errorf("behind a log that has come %d events are held", n)
	}

	m = newModel(t, 1)
	m.heard(job("b", jobs.Queued, 2, 0), 3)
	f := m.view.Follow(Filter{}, "", nil)
	again(m)
	if events, err := f.Next(t.Context()); err != nil || len(events) == 0 {
		t.Errorf("a follower hears %v, %v", events, err)
	}

	m = newModel(t, 1)
	m.heard(job("b", jobs.Queued, 1, 0), 1)
	m.heard(job("b", jobs.Success, 1, 5), 2)
	again(m)
	if n := len(m.view.events.held); n > 0 {
		t.Errorf("behind a job that is no more %d events are held", n)
	}
}
