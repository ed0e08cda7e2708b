// Package view is what an API knows: every job, every host, and the log files, kept up to date from the bus.
//
// Reads are answered from memory and from files alone, so they go on while the bus is away.
package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
	"unique"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// ErrUnknown is an id that no job has.
var ErrUnknown = errors.New("no such job")

// View is safe for concurrent use.
type View struct {
	bus  *bus.Bus
	logs *logfile.Store
	// removals are the logs of jobs that were let go.
	removals removals
	log      *slog.Logger
	lease    time.Duration

	mu   sync.RWMutex
	jobs map[string]*entry
	// order has the entries in the order of their births.
	order []*entry
	// index has them by what lists are filtered by.
	index index
	// active has the jobs of each host that are not terminal, in the order of their births.
	active map[string][]*entry
	// queues has the same jobs, by whom they wait for.
	queues map[queueID]*queue
	// finished has those that are, in the order of their ends, and kept is how many bytes of files they have left on the bus. unsorted
	// says that the times of the ends may have another order.
	finished []*entry
	unsorted bool
	kept     int64
	hosts    map[string]*hostEntry
	// behind has the parts that are still being read for the first time; whole is closed when there are none.
	behind    map[string]string
	whole     chan struct{}
	wholeOnce sync.Once

	// lacks is woken when a log lacks something: that of an ended job, or one of retries.
	lacks chan struct{}
	// retries are the logs that could not be brought into their files.
	retries map[string]*retry
	// lacking are ended jobs that are shown as such though their log is not whole yet.
	lacking map[string]*entry
	// short are jobs with a warning that their log lacks something, which may come all the same.
	short map[string]*entry
	// filling lets one log at a time be fetched.
	filling chan struct{}
	// These are the constants, others in tests.
	fillDelay, fillPatience, restorePatience time.Duration
	cursor                                   cursor
	events                                   events
	// lost is what has to be made known to the bus again, empty for nothing; replaying says that what it has is read once more.
	lost      string
	replaying bool
	// made is when the stream was made that the births are of, and newMade that of the one that is read anew.
	made, newMade time.Time
	// lossAt is when the stream has lost its newest messages and could not be told to be another one since.
	lossAt time.Time
	// births are those that the jobs have been read with since: the lists are in the order of the old ones until all are read.
	births map[*entry]uint64
	// received counts the bytes of logs, forgotten the jobs that were let go.
	received, forgotten int64
}

// New returns a view that knows nothing until Run. lease is how long a host counts as online after its last sign of life.
// cursorFile remembers how far the logs stream was read.
func New(b *bus.Bus, logs *logfile.Store, cursorFile string, lease time.Duration, log *slog.Logger) *View {
	return &View{
		bus: b, logs: logs, log: log, lease: lease,
		jobs:    map[string]*entry{},
		index:   newIndex(),
		active:  map[string][]*entry{},
		queues:  map[queueID]*queue{},
		lacking: map[string]*entry{}, retries: map[string]*retry{}, short: map[string]*entry{}, filling: make(chan struct{}, 1), fillDelay: fillDelay, fillPatience: fillPatience, restorePatience: restorePatience,
		hosts:  map[string]*hostEntry{},
		whole:  make(chan struct{}),
		lacks:  make(chan struct{}, 1),
		cursor: cursor{file: cursorFile},
		events: newEvents(),
		behind: map[string]string{
			partJobs:  "jobs: still reading them from the bus",
			partLogs:  "logs: still reading them from the bus",
			partHosts: "hosts: still reading them from the bus",
		},
	}
}

const (
	partJobs  = "jobs"
	partLogs  = "logs"
	partHosts = "hosts"
)

// followPause is between two tries to follow a stream whose consumer ended.
const followPause = time.Second

// Run follows the bus until ctx ends.
func (v *View) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for part, follow := range map[string]follow{
		partJobs:  v.followJobs,
		partLogs:  v.followLogs,
		partHosts: v.followHosts,
	} {
		wg.Go(func() { v.keepFollowing(ctx, &wg, part, follow) })
	}
	wg.Go(func() { v.fillLater(ctx) })
	wg.Go(func() { v.saveCursor(ctx) })
	wg.Go(func() { v.checkLogs(ctx) })
	wg.Wait()
}

// follow follows a part of what is on the bus. done is called when all is read that was there at the start.
type follow func(ctx context.Context, t *turn, done func()) error

// turn is one time that a part is followed. What comes of it when it is over is not taken in: a handler may have hung while the stream
// was lost. It needs the view's lock.
type turn struct{ over bool }

// keepFollowing follows one part until ctx ends. What the bus has lost of it is made good first: who followed it before would find
// nothing lost of a stream that begins anew.
func (v *View) keepFollowing(ctx context.Context, wg *sync.WaitGroup, part string, follow follow) {
	var err error
	for {
		if !errors.Is(err, bus.ErrLost) {
			t := &turn{}
			err = follow(ctx, t, func() { v.caughtUp(part, t) })
			v.end(t)
			if ctx.Err() != nil {
				return
			}
			v.log.Warn("view: following the bus ended, trying again", "part", part, "error", err)
		}
		if errors.Is(err, bus.ErrLost) && v.mend(ctx, part, err) == nil {
			err = nil
			if part == partLogs {
				wg.Go(func() { v.restoreLogs(ctx) })
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(followPause):
		}
	}
}

func (v *View) end(t *turn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t.over = true
}

func (v *View) isOver(t *turn) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return t.over
}

func (v *View) caughtUp(part string, t *turn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t.over {
		return
	}
	happened := part == partJobs && v.starting()
	counting := v.counting()
	delete(v.behind, part)
	if happened {
		v.endReplay()
		v.awaitEnds()
	}
	if !counting && v.counting() {
		v.countFromNow()
	}
	if len(v.behind) == 0 {
		v.wholeOnce.Do(func() {
			v.logs.Rest() // those of ended jobs that were heard of behind their logs
			close(v.whole)
		})
	}
}

// AwaitCaughtUp returns when CaughtUp is true or ctx ends.
func (v *View) AwaitCaughtUp(ctx context.Context) {
	select {
	case <-v.whole:
	case <-ctx.Done():
	}
}

// starting says whether what the bus has of jobs is read, rather than what happens to them.
func (v *View) starting() bool {
	_, first := v.behind[partJobs]
	return first || v.replaying
}

// CaughtUp says whether everything that the bus held at the start has been taken in. Before, a read may miss jobs.
func (v *View) CaughtUp() bool {
	select {
	case <-v.whole:
		return true
	default:
		return false
	}
}

// Check returns if nothing of the view hangs that all requests wait for.
func (v *View) Check() { v.NotReady() }

// NotReady names what stands in the way of serving: empty when all is well.
func (v *View) NotReady() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	reasons := []string{}
	if !v.bus.Connected() {
		reasons = append(reasons, "bus: not connected")
	}
	if trouble := v.bus.Trouble(); trouble != "" {
		reasons = append(reasons, "bus: "+trouble)
	}
	if v.lost != "" {
		reasons = append(reasons, v.lost)
	}
	for _, part := range []string{partJobs, partLogs, partHosts} {
		if why, ok := v.behind[part]; ok {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// manyJobs is from how many jobs on the memory that it has taken to read them is worth giving back, with the buffers in which the
// embedded server has read its store.
const manyJobs = 500

func (v *View) followJobs(ctx context.Context, t *turn, done func()) error {
	v.mu.RLock()
	history := v.starting()
	v.mu.RUnlock()
	return v.bus.FollowJobs(ctx, history, func(m *bus.JobMessage) {
		v.loadLog(m)
		v.mu.Lock()
		defer v.mu.Unlock()
		if t.over {
			return
		}
		v.reads(m.Made)
		v.takeLocked(m)
		v.happened(v.jobs[m.ID], m.Seq, &m.Job, len(m.JSON))
	}, func(id string, seq uint64) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if t.over {
			return
		}
		v.cancelLocked(id, seq)
		v.cancelHappened(v.jobs[id], seq)
	}, func() {
		done()
		v.mu.RLock()
		many := history && len(v.order) >= manyJobs
		v.mu.RUnlock()
		if many {
			// What reading has left behind is as much as what is kept, and would stay until as much has come anew: for hours.
			debug.FreeOSMemory()
		}
	})
}

// Add takes in a job that this API has just given birth to, so that its client finds it at once, and returns it as it is now.
func (v *View) Add(birth *bus.Birth, seq uint64) jobs.Job {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.takeLocked(&bus.JobMessage{Job: birth.Job, Seq: seq, Birth: true, JSON: birth.JSON})
	return v.shown(v.jobs[birth.ID])
}

// loadLog finds out how long the log of a job is that is about to be taken in: not with the view locked, since a disk may hang, which then
// holds up what comes of jobs and nothing that is asked. Of what had ended before this start it is found out when it is read.
func (v *View) loadLog(m *bus.JobMessage) {
	v.mu.RLock()
	e := v.jobs[m.ID]
	_, first := v.behind[partJobs]
	needless := m.State == jobs.Queued || e == nil && first && m.State.Terminal() || e != nil && e.terminal()
	v.mu.RUnlock()
	if needless {
		return
	}
	if err := v.logs.Get(m.ID).Load(); err != nil {
		v.log.Error("view: the file of a log", "job", m.ID, "error", err)
	}
}

// take brings the view up to a message, which may be older than what the view has.
func (v *View) take(m *bus.JobMessage) {
	v.loadLog(m)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.takeLocked(m)
}

func (v *View) takeLocked(m *bus.JobMessage) {
	e := v.jobs[m.ID]
	if e != nil && m.Born > 0 {
		birth := *m
		birth.Birth, birth.Seq, birth.Born = true, m.Born, 0
		v.takeLocked(&birth)
		e = v.jobs[m.ID]
	}
	if e != nil && m.Birth && v.isBefore(e, m) {
		// The job was let go, and its Idempotency-Key has made another one. Its log is in the way of the other's.
		v.forget(e)
		v.removeLog(m.ID)
		e = nil
	}
	// Its clients may have seen it ended before this start. Nobody is served before the logs are here too, and a file that was
	// lost is fetched when it is read.
	_, first := v.behind[partJobs]
	switch {
	case e == nil && first && m.State.Terminal() && !m.Birth:
		v.addEnded(m)
		return
	case e == nil:
		e = v.add(m)
	case m.Birth && v.replaying:
		v.births[e] = min(m.Seq, cmp.Or(v.births[e], m.Seq))
		e.seq = max(e.seq, m.Seq)
		return
	case m.Birth && (e.birth == 0 || m.Seq < e.birth):
		// The status was found first, or the bus had lost the job. The birth gives it its place.
		v.order = remove(v.order, e)
		v.index.drop(e)
		v.deactivate(e)
		e.birth, e.seq = m.Seq, max(e.seq, m.Seq)
		v.insert(e)
		return
	case m.Seq <= e.seq:
		if m.Seq == e.endSeq && !m.Stored.IsZero() && !m.Stored.Equal(e.end) {
			e.end = m.Stored // where it was published here, it was by our clock so far
			v.lookAround(e)
		}
		return
	default:
		e.seq = m.Seq
	}
	if m.Birth || e.terminal() || e.ending() != nil { // the last two come again from a bus that had lost them
		return
	}
	job := m.Job
	job.LogPath = e.open.job.LogPath
	e.source, e.open.request = unique.Make(m.Source), nil
	if !job.State.Terminal() {
		v.dequeue(e)
		v.become(e, &job)
		v.enqueue(e)
		return
	}
	e.open.ended, e.endedAt, e.end, e.endSeq = &job, time.Now(), m.Stored, m.Seq
	if m.Stored.IsZero() {
		e.end = e.endedAt
	}
	if first {
		v.finish(e, m.JSON)
		return
	}
	if !v.settle(e) {
		v.wakeFiller()
	}
}

// add makes an entry of the first message of a job.
func (v *View) add(m *bus.JobMessage) *entry {
	e := &entry{id: m.ID, created: m.CreatedAt.UnixNano(), seq: m.Seq, source: unique.Make(m.Source), open: &open{job: m.Job}}
	v.bear(e, cmp.Or(m.Born, m.Seq))
	job := &e.open.job
	if m.Birth {
		e.open.request = m.JSON
	}
	if m.State.Terminal() {
		// Not before its log is whole.
		job.State, job.FinishedAt, job.Error, job.Reason, job.ExitCode = jobs.Running, nil, nil, "", nil
	}
	job.LogPath = v.logs.Path(m.ID)
	e.traits = traitsOf(job)
	v.jobs[m.ID] = e
	v.insert(e)
	return e
}

// addEnded makes an entry of the end of a job of which nothing else is known.
func (v *View) addEnded(m *bus.JobMessage) {
	e := &entry{
		id: m.ID, created: m.CreatedAt.UnixNano(), seq: m.Seq, source: unique.Make(m.Source), traits: traitsOf(&m.Job),
		endedAt: time.Now(), end: m.Stored, endSeq: m.Seq,
	}
	v.bear(e, cmp.Or(m.Born, m.Seq))
	v.jobs[m.ID] = e
	v.insert(e)
	v.list(e, &m.Job)
	v.pack(e, &m.Job, m.JSON)
}

// reads takes in which stream is read, by when it was made.
func (v *View) reads(made time.Time) {
	if v.newMade = made; !v.replaying {
		v.made = made
	}
}

// bear gives a new entry its birth. While the stream is read anew it is behind all that have one of the stream before.
func (v *View) bear(e *entry, birth uint64) {
	e.birth = birth
	if !v.replaying {
		return
	}
	v.births[e] = birth
	if n := len(v.order); n > 0 {
		e.birth = v.order[n-1].birth + 1
	}
}

// isBefore says whether a birth is that of a later job of the same id. Within one stream its order says so: the clocks of APIs differ.
func (v *View) isBefore(e *entry, birth *bus.JobMessage) bool {
	known := e.birth
	if v.replaying {
		known = v.births[e]
	}
	if known == 0 {
		return birth.CreatedAt.After(v.shown(e).CreatedAt)
	}
	return birth.Seq > known && !birth.CreatedAt.Equal(v.shown(e).CreatedAt)
}

// CancelRequested takes in that a job is to be canceled, by a request with this sequence.
func (v *View) CancelRequested(id string, seq uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cancelLocked(id, seq)
}

func (v *View) cancelLocked(id string, seq uint64) {
	e := v.jobs[id]
	if e == nil {
		return
	}
	e.canceled = seq
	if e.open == nil && seq < e.seq {
		// What is kept of it was found before the request.
		job := v.unpack(id, e.text)
		v.pack(e, &job, nil)
	}
}

// cancelRequested says whether the end was asked for of the job, in this state of it. A request that came behind the end changes
// nothing of the job.
func (e *entry) cancelRequested(job *jobs.Job) bool {
	return job.CancelRequested || e.canceled > 0 && (!job.State.Terminal() || e.canceled < e.seq)
}

// Moved takes in a state that this API has just published, or read.
func (v *View) Moved(m *bus.JobMessage) { v.take(m) }

// finish shows a job as ended. stored is the message that has told of it, where that is to be kept.
func (v *View) finish(e *entry, stored []byte) {
	v.deactivate(e)
	v.become(e, e.open.ended)
	e.open.ended = nil
	v.list(e, &e.open.job)
	v.tell()
	if _, lacks := v.lacking[e.id]; !lacks {
		v.pack(e, &e.open.job, stored)
	}
}

// insert puts an entry at its place in the lists that are in the order of births.
func (v *View) insert(e *entry) {
	v.order = insert(v.order, e, byBirth)
	v.index.move(e, Filter{})
	if host := e.traits.Value().Host; !e.terminal() {
		v.active[host] = insert(v.active[host], e, byBirth)
		v.enqueue(e)
	}
}

// deactivate takes an entry out of the lists of the jobs that have not ended, if it is there.
func (v *View) deactivate(e *entry) {
	if host := e.traits.Value().Host; !e.terminal() {
		v.active[host] = remove(v.active[host], e)
		v.dequeue(e)
	}
}

// become has the view show a job as it is now.
func (v *View) become(e *entry, job *jobs.Job) {
	before := e.traits.Value()
	e.open.job, e.traits = *job, traitsOf(job)
	e.open.answered = answered{}
	e.open.turn++
	v.index.move(e, before)
}

// Show returns a job as it is now. An id that the view does not know it asks of the bus: another API may have made it a moment ago.
// ErrUnknown: there is none. bus.ErrUnavailable: the view does not know it and the bus is away or does not answer.
func (v *View) Show(ctx context.Context, id string) (Shown, error) {
	if s, ok := v.Look(id); ok {
		return s, nil
	}
	if !jobs.ValidID(id) {
		return Shown{}, ErrUnknown
	}
	m, err := v.bus.FindJob(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return Shown{}, ErrUnknown
	}
	if err != nil {
		return Shown{}, fmt.Errorf("job %s: %w", id, err)
	}
	v.take(m)
	s, ok := v.Look(id)
	if !ok {
		return Shown{}, ErrUnknown // let go in between
	}
	return s, nil
}

// Look is Show of a job that the view knows, without asking the bus.
func (v *View) Look(id string) (Shown, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e, ok := v.jobs[id]
	if !ok {
		return Shown{}, false
	}
	return v.show(e), true
}

// Job is the job that Show finds, and has its errors.
func (v *View) Job(ctx context.Context, id string) (jobs.Job, error) {
	s, err := v.Show(ctx, id)
	if err != nil {
		return jobs.Job{}, err
	}
	return s.Job(), nil
}

// Known is Job of a job that the view knows, without asking the bus.
func (v *View) Known(id string) (jobs.Job, bool) {
	s, ok := v.Look(id)
	if !ok {
		return jobs.Job{}, false
	}
	return s.Job(), true
}

// Active counts the jobs of a host that are not terminal.
func (v *View) Active(host string) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.active[host])
}
