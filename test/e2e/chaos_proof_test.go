package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
)

// soundEvidence is that of two jobs in one directory with which all is well.
func soundEvidence() *evidence {
	begin := time.Unix(1_800_000_000, 0).UTC()
	e := &evidence{
		jobs: map[string]*jobRecord{}, keys: map[string][]string{}, heard: map[string][]told{},
		stored: map[streamPlace]uint32{}, full: map[string][]span{},
	}
	for n, id := range []string{"one", "two"} {
		seq := uint64(10 * (n + 1))
		at := begin.Add(time.Duration(n) * time.Minute)
		end := at.Add(10 * time.Second)
		job := jobs.Job{ID: id, Action: jobs.Create, State: jobs.Queued, Workdir: "/labs/x", Host: "alpha", Deployment: "visit-" + id, CreatedAt: at}
		running, success := job, job
		running.State, success.State = jobs.Running, jobs.Success
		pieces := []string{"tally ☃ create init " + id + "\nchatter 1 of 2 ....\n", "chatter 2 of 2 ....\nwritten\n"}
		log := strings.Join(pieces, "")
		success.LogBytes, success.FinishedAt = int64(len(log)), &end
		e.tally = append(e.tally, tallyLine{Job: id, Command: "create", Hook: "init", Dir: "/labs/x"})
		e.keys["key of "+id] = []string{id, id}
		e.heard[id] = []told{{seq, jobs.Queued}, {seq + 1, jobs.Running}, {seq + 2, jobs.Success}}
		for i := range uint64(3) {
			place := streamPlace{"NETLAB_JOBS", seq + i}
			e.stored[place] = 7
			e.seen = append(e.seen, seenMessage{place, "netlab.jobs.alpha." + id + ".status", 7})
		}
		e.jobs[id] = &jobRecord{
			id: id,
			client: &chaosJob{
				id: id, visit: visit{action: jobs.Create, shared: -1, talk: object{"lines": 2, "bytes": 20}},
				follows: []*follow{{form: "text", text: []byte(log), whole: true}}, ends: map[string]bool{"document": true},
			},
			births:   []birthRecord{{seq, job}},
			statuses: []statusRecord{{seq + 1, at, "worker", running}, {seq + 2, end, "worker", success}},
			chunks:   []chunkRecord{{seq, at, 0, pieces[0]}, {seq + 1, at, int64(len(pieces[0])), pieces[1]}},
			views: []jobView{
				{"api-one", success, "document", map[string]string{"JSON": log, "file": log}},
				{"api-two", success, "document", map[string]string{"JSON": log, "file": log}},
			},
		}
	}
	return e
}

// Each invariant is found broken where it is, and where nothing is broken nothing is found.
func TestChaosFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	if found := soundEvidence().check(); len(found) > 0 {
		t.Fatalf("where all is well: %+v", found)
	}
	for _, tc := range []struct {
		what, invariant string
		damage          func(e *evidence, one *jobRecord)
	}{
		{"an id that the bus does not know", terminal, func(_ *evidence, one *jobRecord) { one.births = nil }},
		{"two births", terminal, func(_ *evidence, one *jobRecord) { one.births = append(one.births, one.births[0]) }},
		{"a job that runs for ever", terminal, func(_ *evidence, one *jobRecord) { one.statuses = one.statuses[:1] }},
		{"an API that does not show the end", terminal, func(_ *evidence, one *jobRecord) { one.views[1].job.State = jobs.Running }},
		{"APIs that show two ends", terminal, func(_ *evidence, one *jobRecord) { one.views[1].document = "another" }},
		{"an end that was another one before", terminal, func(_ *evidence, one *jobRecord) { one.client.ends["another"] = true }},
		{"a cancel that is forgotten", terminal, func(_ *evidence, one *jobRecord) { one.client.canceled = true }},
		{"Netlab for a job of nobody's", terminal, func(e *evidence, _ *jobRecord) { e.tally[0].Job = "three" }},
		{"two claims", history, func(_ *evidence, one *jobRecord) { one.statuses[1].source = "another worker" }},
		{"a state behind the end", history, func(_ *evidence, one *jobRecord) { one.statuses = append(one.statuses, one.statuses[1]) }},
		{"a log that gets shorter", history, func(_ *evidence, one *jobRecord) { one.statuses[0].job.LogBytes = 1000 }},
		{"a success without a claim", history, func(_ *evidence, one *jobRecord) { one.statuses = one.statuses[1:] }},
		{"a chunk twice", logEqual, func(_ *evidence, one *jobRecord) { one.chunks = append(one.chunks, one.chunks[1]) }},
		{"a chunk less", logEqual, func(_ *evidence, one *jobRecord) { one.chunks = one.chunks[1:] }},
		{"a byte that one reader has not", logEqual, func(_ *evidence, one *jobRecord) { one.views[0].logs["file"] = one.log()[1:] }},
		{"a byte that a follower has twice", logEqual, func(_ *evidence, one *jobRecord) {
			f := one.client.follows[0]
			f.text = append(f.text, 'x')
		}},
		{"a follower that was told too early that it has all", logEqual, func(_ *evidence, one *jobRecord) {
			f := one.client.follows[0]
			f.text = f.text[:9]
		}},
		{"a follower that hangs", logEqual, func(_ *evidence, one *jobRecord) { one.client.follows[0].whole = false }},
		{"an end that says less than there is", logComplete, func(_ *evidence, one *jobRecord) { one.statuses[1].job.LogBytes-- }},
		{"log behind the end", logComplete, func(_ *evidence, one *jobRecord) { one.chunks[1].at = one.statuses[1].at.Add(1) }},
		{"lines in another order", logContent, func(_ *evidence, one *jobRecord) {
			one.chunks[0].text, one.chunks[1].text = one.chunks[1].text, one.chunks[0].text
		}},
		{"a line that the run has not written", logContent, func(_ *evidence, one *jobRecord) { one.chunks[1].text += "tally ☃ create init one\n" }},
		{"a command twice", startedOnce, func(e *evidence, _ *jobRecord) { e.tally = append(e.tally, e.tally[0]) }},
		{"a success without a command", startedOnce, func(e *evidence, _ *jobRecord) { e.tally = e.tally[1:] }},
		{"two runs at once", oneAtATime, func(e *evidence, _ *jobRecord) { e.tally[1].Beside = "one" }},
		{"the later job first", firstCome, func(e *evidence, _ *jobRecord) { slices.Reverse(e.tally) }},
		{"a directory on two hosts", onePlace, func(_ *evidence, one *jobRecord) { one.births[0].job.Host = "beta" }},
		{"a run that a fault has ended", undisturbed, func(_ *evidence, one *jobRecord) { one.statuses[1].job.State = jobs.Failed }},
		{"a cancel that nobody has asked for", undisturbed, func(_ *evidence, one *jobRecord) { one.statuses[1].job.State = jobs.Canceled }},
		{"an end that is not told", eventsTold, func(e *evidence, _ *jobRecord) { e.heard["one"] = e.heard["one"][:2] }},
		{"an end that is told twice", eventsTold, func(e *evidence, _ *jobRecord) { e.heard["one"] = append(e.heard["one"], e.heard["one"][2]) }},
		{"states in another order", eventsTold, func(e *evidence, _ *jobRecord) { slices.Reverse(e.heard["one"][:2]) }},
		{"two jobs of a key", oneJob, func(e *evidence, _ *jobRecord) { e.keys["key of one"][1] = "two" }},
		{"two jobs of a request", oneJob, func(_ *evidence, one *jobRecord) { one.births[0].job.Deployment = "visit-two" }},
		{"a job that was denied", noJob, func(e *evidence, one *jobRecord) {
			one.client = nil
			e.tries = []try{{"visit-one", true}, {"visit-one", true}}
		}},
		{"a message that is not stored", committed, func(e *evidence, _ *jobRecord) { delete(e.stored, e.seen[0].streamPlace) }},
		{"a message that is stored as another one", committed, func(e *evidence, _ *jobRecord) { e.stored[e.seen[0].streamPlace] = 8 }},
		{"a message twice", committed, func(e *evidence, _ *jobRecord) { e.seen = append(e.seen, e.seen[0]) }},
	} {
		e := soundEvidence()
		tc.damage(e, e.jobs["one"])
		if found := e.check(); !slices.ContainsFunc(found, func(f finding) bool { return f.invariant == tc.invariant }) {
			t.Errorf("%s: not found that %s, but %+v", tc.what, tc.invariant, found)
		}
	}
}

// What is to be excused is.
func TestChaosExcuses(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(e *evidence, one *jobRecord){
		"a run that failed with a full disk": func(e *evidence, one *jobRecord) {
			last := &one.statuses[1]
			last.job.State = jobs.Failed
			one.views[0].job.State, one.views[1].job.State, e.heard["one"][2].state = jobs.Failed, jobs.Failed, jobs.Failed
			e.full["alpha"] = []span{{begin: last.at.Add(-time.Second), end: last.at}}
		},
		"a job that may be there": func(e *evidence, one *jobRecord) {
			one.client = nil
			e.tries = []try{{"visit-one", true}, {"visit-one", false}}
		},
	} {
		e := soundEvidence()
		change(e, e.jobs["one"])
		if found := e.check(); len(found) > 0 {
			t.Errorf("%s: %+v", what, found)
		}
	}
}

// The short storm has every kind of fault, a program has one fault at a time, and the same seed gives the same.
func TestFaultsAreDrawn(t *testing.T) {
	t.Parallel()
	anything := func(string, string) bool { return true }
	for seed := range uint64(50) {
		storm, scale := shortStorm, shortFaults
		if seed%2 == 0 {
			storm, scale = time.Hour, 1
		}
		draw := func() []fault { return drawFaults(rand.New(rand.NewPCG(seed, 0)), storm, scale, anything) }
		faults := draw()
		if again := draw(); !slices.Equal(faults, again) {
			t.Fatalf("seed %d: %v, then %v", seed, faults, again)
		}
		until, kinds, long := map[string]time.Duration{}, map[string]bool{}, 0
		for _, f := range faults {
			if f.at < until[f.target] || f.at+f.lasts > storm {
				t.Errorf("seed %d: %s at %s", seed, f, f.at)
			}
			until[f.target] = f.at + f.lasts
			program, _, _ := strings.Cut(f.target, "-")
			kinds[f.kind+" "+program] = true
			if f.lasts > time.Minute {
				long++
			}
		}
		if want := len(longTable); seed%2 == 0 && long < want-1 || seed%2 == 1 && long > 0 { // the last one may be cut short
			t.Errorf("seed %d has %d long faults: %v", seed, long, faults)
		}
		for _, k := range faultTable {
			program, _, _ := strings.Cut(k.targets[0], "-")
			if k.kind != "slow" && !kinds[k.kind+" "+program] && seed == shortSeed {
				t.Errorf("seed %d has no %s %s", seed, k.kind, program)
			}
		}
	}
}

// An answer that is not promised, or comes too late, is found.
func TestChaosJudgesAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status     int
		retry      string
		body, path string
		bad        bool
	}{
		{200, "", "{}", "/jobs", false},
		{404, "", `{"error":"no"}`, "/jobs/x", false},
		{404, "", "no", "/jobs/x", true},
		{500, "", `{"error":"internal error"}`, "/jobs", true},
		{502, "", `{"error":"x"}`, "/jobs", true},
		{503, "2", `{"error":"the bus is unavailable"}`, "/jobs", false},
		{503, "", `{"error":"the bus is unavailable"}`, "/jobs", true},
		{503, "2", `{"status":"not ready"}`, "/readyz", false},
	} {
		c := &chaos{t: t, begin: time.Now()}
		header := http.Header{}
		if tc.retry != "" {
			header.Set("Retry-After", tc.retry)
		}
		k := &asker{c: c}
		k.judge(&chaosReply{tc.status, header, []byte(tc.body)}, &chaosAPI{process: &process{}}, "GET", tc.path)
		if bad := len(c.findings) > 0; bad != tc.bad {
			t.Errorf("%d %s: %+v", tc.status, tc.body, c.findings)
		}
	}
}

// What a program complains of is seen in what it wrote.
func TestChaosSeesComplaints(t *testing.T) {
	t.Parallel()
	for text, bad := range map[string]bool{
		"time=… level=INFO msg=listening\n":                               false,
		"time=… level=ERROR msg=\"http: internal error\" path=/jobs\n":    true,
		"x\npanic: runtime error: invalid memory address\n":               true,
		"==================\nWARNING: DATA RACE\nWrite at 0x00c0\n":       true,
		"fatal error: concurrent map writes\n":                            true,
		fmt.Sprintf("level=ERROR msg=%q\n", "job not finished: no space"): false,
	} {
		if got := complaints.MatchString(text); got != bad {
			t.Errorf("%q: %v", text, got)
		}
	}
}
