package e2e_test

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"netlab-runner/internal/jobs"
)

// The invariants, as a finding names them.
const (
	terminal     = "what is accepted reaches one terminal state"
	oneJob       = "a key is one job"
	noJob        = "where the answer is that there is no job, there is none"
	startedOnce  = "each command is started at most once"
	oneAtATime   = "no two changing runs in one directory"
	firstCome    = "first come, first served in one directory"
	onePlace     = "a directory is on one host"
	away         = "while the bus is away a submit gets a 503 that says so"
	logEqual     = "the log is the same for everybody"
	logComplete  = "the log is complete before the state is terminal"
	logContent   = "the log is what the run wrote"
	history      = "a job's history is legal"
	committed    = "subscribers see what was committed"
	eventsTold   = "events tell each end once, and states in order"
	undisturbed  = "no fault ends a run"
	nothingLeft  = "nothing of a job is left on its host"
	answers      = "an answer is one that is promised"
	inTime       = "an answer comes in time"
	byItself     = "no program ends by itself, or hangs"
	noComplaint  = "no program panics or has a data race"
	handles      = "handles do not pile up"
	recovered    = "all is well again when the faults are over"
	mostFindings = 20 // of one invariant that are printed
)

// finding is an invariant that does not hold. job is empty where it is of no single one.
type finding struct{ invariant, job, text string }

// evidence is all that is known in the end, of the bus, the APIs, the clients and the hosts.
type evidence struct {
	jobs  map[string]*jobRecord
	keys  map[string][]string // the ids that clients were given for a key
	tries []try
	tally []tallyLine
	heard map[string][]told
	// stored are the messages of each stream by their sequences, seen those that a subscriber got.
	stored map[streamPlace]uint32
	seen   []seenMessage
	// full are, by host, the times when a worker's disk was full.
	full map[string][]span
}

// streamPlace is the place of a message on the bus.
type streamPlace struct {
	stream string
	seq    uint64
}

// seenMessage is a message as a subscriber got it, sum that of its subject and data.
type seenMessage struct {
	streamPlace
	subject string
	sum     uint32
}

func sumOf(subject string, data []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(subject+"\x00")), crc32.IEEETable, data)
}

// jobRecord is all about one job.
type jobRecord struct {
	id string
	// client is nil where no client knows of the job.
	client   *chaosJob
	births   []birthRecord
	statuses []statusRecord
	chunks   []chunkRecord
	views    []jobView
}

type birthRecord struct {
	seq uint64
	job jobs.Job
}

type statusRecord struct {
	seq    uint64
	at     time.Time
	source string
	job    jobs.Job
}

type chunkRecord struct {
	seq    uint64
	at     time.Time
	offset int64
	text   string
}

// jobView is what an API shows of a job in the end. logs are by their form.
type jobView struct {
	api      string
	job      jobs.Job
	document string // as comparable makes it
	logs     map[string]string
}

// log is the log as the bus has it.
func (r *jobRecord) log() string {
	var text strings.Builder
	for _, c := range r.chunks {
		text.WriteString(c.text)
	}
	return text.String()
}

// last is the job's last state on the bus; nil: nobody has claimed it.
func (r *jobRecord) last() *jobs.Job {
	if len(r.statuses) == 0 {
		return nil
	}
	return &r.statuses[len(r.statuses)-1].job
}

// check returns what does not hold.
func (e *evidence) check() (found []finding) {
	for _, id := range slices.Sorted(maps.Keys(e.jobs)) {
		r := e.jobs[id]
		for invariant, check := range map[string]func(*jobRecord) []string{
			terminal: r.terminals, history: r.legality, logEqual: r.logs, logComplete: r.completeness,
			logContent: e.content, startedOnce: e.starts, undisturbed: e.outcome, eventsTold: e.events,
		} {
			for _, text := range check(r) {
				found = append(found, finding{invariant, id, text})
			}
		}
	}
	return slices.Concat(found, e.keysAreJobs(), e.denials(), e.runsBeside(), e.order(), e.subscriptions())
}

func (r *jobRecord) terminals(*jobRecord) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	if len(r.births) != 1 {
		say("it has %d births", len(r.births))
	}
	last := r.last()
	if last == nil || !last.State.Terminal() {
		say("on the bus its last of %d states is not terminal: %+v", len(r.statuses), last)
		return bad
	}
	for _, v := range r.views {
		if v.job.State != last.State {
			say("%s shows it %s, the bus has %s", v.api, v.job.State, last.State)
		}
		if v.document != r.views[0].document {
			say("%s shows\n%s\n%s shows\n%s", v.api, v.document, r.views[0].api, r.views[0].document)
		}
		if c := r.client; c != nil && c.canceled && !v.job.CancelRequested {
			say("%s does not show that it was canceled", v.api)
		}
	}
	if c := r.client; c != nil && len(r.views) > 0 {
		for document := range c.ends {
			if document != r.views[0].document {
				say("its client was shown the end\n%s\nand now it is\n%s", document, r.views[0].document)
			}
		}
	}
	return bad
}

// legality holds the job's states on the bus to the table of moves.
func (r *jobRecord) legality(*jobRecord) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	state, source := jobs.Queued, ""
	for i, s := range r.statuses {
		switch {
		case state.Terminal():
			say("%s behind %s", s.job.State, state)
		case i > 0 && s.source != source:
			say("%s by %s, claimed by %s", s.job.State, s.source, source)
		case i > 0 && rank(s.job.State) < rank(state):
			say("%s behind %s", s.job.State, state)
		case i == 0 && s.job.State == jobs.Success:
			say("success without a claim")
		case i > 0 && s.job.LogBytes < r.statuses[i-1].job.LogBytes:
			say("the log has %d bytes, and had %d", s.job.LogBytes, r.statuses[i-1].job.LogBytes)
		}
		state, source = s.job.State, s.source
	}
	return bad
}

// logs compares the log of the bus with that of every reader.
func (r *jobRecord) logs(*jobRecord) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	var offset int64
	for _, c := range r.chunks {
		if c.offset != offset {
			say("the chunk %d begins at %d, behind %d bytes", c.seq, c.offset, offset)
		}
		offset = c.offset + int64(len(c.text))
	}
	want := r.log()
	for _, v := range r.views {
		for form, got := range v.logs {
			if got != want {
				say("%s, %s: %s", v.api, form, difference(got, want))
			}
		}
	}
	if r.client == nil {
		return bad
	}
	for _, f := range r.client.follows {
		switch got := string(f.text); {
		case f.whole && got != want, !strings.HasPrefix(want, got):
			say("a follower by %s over %d connections: %s", f.form, f.connections, difference(got, want))
		case !f.whole:
			say("a follower by %s never came to the end, after %d connections and %d of %d bytes", f.form, f.connections, len(got), len(want))
		}
	}
	return bad
}

// difference says where two texts differ.
func difference(got, want string) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	part := func(s string) string { return s[at:min(at+60, len(s))] }
	return fmt.Sprintf("%d bytes, want %d; at %d there is %q, want %q", len(got), len(want), at, part(got), part(want))
}

func (r *jobRecord) completeness(*jobRecord) (bad []string) {
	last := r.last()
	if last == nil || !last.State.Terminal() {
		return nil // said elsewhere
	}
	if have := int64(len(r.log())); last.LogBytes != have {
		bad = append(bad, fmt.Sprintf("the terminal state says %d bytes, the log has %d", last.LogBytes, have))
	}
	end := r.statuses[len(r.statuses)-1].at
	for _, c := range r.chunks {
		if c.at.After(end) {
			bad = append(bad, fmt.Sprintf("the chunk at %d came %s behind the terminal state", c.offset, c.at.Sub(end)))
		}
	}
	return bad
}

// begun are the lines of the tally that are of a job.
func (e *evidence) begun(id string) (lines []tallyLine) {
	for _, l := range e.tally {
		if l.Job == id {
			lines = append(lines, l)
		}
	}
	return lines
}

func (e *evidence) starts(r *jobRecord) (bad []string) {
	counts := map[string]int{}
	for _, l := range e.begun(r.id) {
		counts[l.Command+" "+l.Hook]++
	}
	for what, n := range counts {
		if n > 1 {
			bad = append(bad, fmt.Sprintf("Netlab was called %d times for %s: %+v", n, what, e.begun(r.id)))
		}
	}
	if last := r.last(); last != nil && last.State == jobs.Success && last.Action == jobs.Create && counts["create init"] != 1 {
		bad = append(bad, fmt.Sprintf("a create that is a success was begun %d times", counts["create init"]))
	}
	return bad
}

// content compares the log of a success with what the plugins have written.
func (e *evidence) content(r *jobRecord) (bad []string) {
	last := r.last()
	if last == nil || last.State != jobs.Success {
		return nil
	}
	var chatter, tally []string
	log := r.log()
	for l := range strings.Lines(log) {
		switch {
		case strings.HasPrefix(l, "chatter "):
			chatter = append(chatter, l)
		case strings.HasPrefix(l, "tally "):
			tally = append(tally, l)
		}
	}
	var want []string
	for _, l := range e.begun(r.id) {
		want = append(want, fmt.Sprintf("tally ☃ %s %s %s\n", l.Command, l.Hook, l.Job))
	}
	if !slices.Equal(tally, want) {
		bad = append(bad, fmt.Sprintf("the plugin has written %q, the log has %q", want, tally))
	}
	if r.client == nil || r.client.shared >= 0 {
		return bad
	}
	lines, length := r.client.talk["lines"].(int), r.client.talk["bytes"].(int)
	want = nil
	for n := 1; n <= lines; n++ {
		begin := fmt.Sprintf("chatter %d of %d ", n, lines)
		want = append(want, begin+strings.Repeat(".", max(length-1-len(begin), 0))+"\n")
	}
	if !slices.Equal(chatter, want) {
		bad = append(bad, fmt.Sprintf("%d lines of chatter, want %d: %s", len(chatter), lines, difference(strings.Join(chatter, ""), strings.Join(want, ""))))
	}
	return bad
}

// outcome says whether a job ended otherwise than it would have without faults. A full disk of its worker is a reason, and so is
// that somebody has asked for its end.
func (e *evidence) outcome(r *jobRecord) []string {
	last := r.last()
	if last == nil || !last.State.Terminal() || last.State == jobs.Success {
		return nil
	}
	if last.State == jobs.Canceled && (r.client == nil || r.client.asked) {
		return nil
	}
	begin, end := last.CreatedAt.Add(-time.Second), last.FinishedAt.Add(2*time.Second)
	for _, s := range e.full[last.Host] {
		if s.overlap(begin, end) > 0 && last.State == jobs.Failed {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s in %s on %s: %s %s %s\n%s", last.Action, last.Workdir, last.Host, last.State, last.Reason, text(last.Error), r.log())}
}

// events looks at what was told of a job to a client that has followed all of them.
func (e *evidence) events(r *jobRecord) (bad []string) {
	ends, state := 0, jobs.Queued
	for _, t := range e.heard[r.id] {
		if rank(t.state) < rank(state) {
			bad = append(bad, fmt.Sprintf("%s is told behind %s: %v", t.state, state, e.heard[r.id]))
		}
		if state = t.state; state.Terminal() {
			ends++
		}
	}
	if last := r.last(); ends != 1 || last != nil && last.State != state {
		bad = append(bad, fmt.Sprintf("%d ends are told: %v", ends, e.heard[r.id]))
	}
	return bad
}

func (e *evidence) keysAreJobs() (found []finding) {
	for key, ids := range e.keys {
		if unique := slices.Compact(slices.Sorted(slices.Values(ids))); len(unique) != 1 {
			found = append(found, finding{oneJob, unique[0], fmt.Sprintf("%s gave %q", key, unique)})
		}
	}
	markers := map[string]string{}
	for id, r := range e.jobs {
		for _, b := range r.births {
			if other := markers[b.job.Deployment]; other != "" && other != id {
				found = append(found, finding{oneJob, id, fmt.Sprintf("the request %s has made %s too", b.job.Deployment, other)})
			}
			markers[b.job.Deployment] = id
		}
	}
	return found
}

// denials looks for jobs of requests whose every answer was that there is no job.
func (e *evidence) denials() (found []finding) {
	denied := map[string]bool{}
	for _, t := range e.tries {
		before, known := denied[t.marker]
		denied[t.marker] = t.denied && (before || !known)
	}
	for id, r := range e.jobs {
		if r.client == nil && len(r.births) > 0 && denied[r.births[0].job.Deployment] {
			found = append(found, finding{noJob, id, "of the request " + r.births[0].job.Deployment})
		}
	}
	return found
}

func (e *evidence) runsBeside() (found []finding) {
	for _, l := range e.tally {
		if l.Beside != "" {
			found = append(found, finding{oneAtATime, l.Job, fmt.Sprintf("%+v", l)})
		}
	}
	return found
}

// order looks whether the runs of a directory came in the order of their requests, and on one host.
func (e *evidence) order() (found []finding) {
	newest, hosts := map[string]birthRecord{}, map[string]birthRecord{}
	for _, l := range e.tally {
		r := e.jobs[l.Job]
		if r == nil || len(r.births) == 0 {
			found = append(found, finding{terminal, l.Job, fmt.Sprintf("Netlab runs for a job that the bus does not know: %+v", l)})
			continue
		}
		birth := r.births[0]
		if !birth.job.Action.Changes() {
			continue
		}
		dir := birth.job.Workdir
		if before := newest[dir]; birth.seq < before.seq {
			found = append(found, finding{firstCome, l.Job, fmt.Sprintf("%s was accepted after it and has begun before it in %s", before.job.ID, dir)})
		} else {
			newest[dir] = birth
		}
		if before, known := hosts[dir]; known && before.job.Host != birth.job.Host {
			found = append(found, finding{onePlace, l.Job, fmt.Sprintf("it runs in %s on %s, %s ran there on %s", dir, birth.job.Host, before.job.ID, before.job.Host)})
		}
		hosts[dir] = birth
	}
	return found
}

func (e *evidence) subscriptions() (found []finding) {
	places := map[streamPlace]bool{}
	for _, m := range e.seen {
		sum, there := e.stored[m.streamPlace]
		switch {
		case !there:
			found = append(found, finding{committed, "", fmt.Sprintf("%s, message %d of %s, is not there", m.subject, m.seq, m.stream)})
		case sum != m.sum:
			found = append(found, finding{committed, "", fmt.Sprintf("message %d of %s is another one than the subscriber got: %s", m.seq, m.stream, m.subject)})
		case places[m.streamPlace]:
			found = append(found, finding{committed, "", fmt.Sprintf("message %d of %s came twice: %s", m.seq, m.stream, m.subject)})
		}
		places[m.streamPlace] = true
	}
	return found
}

// byInvariant groups findings.
func byInvariant(found []finding) [][]finding {
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(a.invariant, b.invariant) })
	var groups [][]finding
	for _, f := range found {
		if n := len(groups); n > 0 && groups[n-1][0].invariant == f.invariant {
			groups[n-1] = append(groups[n-1], f)
		} else {
			groups = append(groups, []finding{f})
		}
	}
	return groups
}
