package e2e_test

import (
	"bufio"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

// events are Server-Sent Events as a client reads them.
type events struct {
	t    *testing.T
	body *bufio.Scanner
	// last is the id with which the client would come again.
	last string
}

// events opens a stream, behind the event of the id after unless that is empty.
func (a *api) events(t *testing.T, path, after string) *events {
	t.Helper()
	header := []string{"Accept", "text/event-stream"}
	if after != "" {
		header = append(header, "Last-Event-ID", after)
	}
	response := a.open(t, "GET", path, nil, header...)
	if response.StatusCode != 200 {
		t.Fatalf("GET %s: %d", path, response.StatusCode)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	body := bufio.NewScanner(response.Body)
	body.Buffer(nil, 1<<20)
	return &events{t: t, body: body, last: after}
}

// next returns the next event, as JSON; nil at the end of the stream.
func (e *events) next() []byte {
	e.t.Helper()
	var data []byte
	for e.body.Scan() {
		switch name, value, _ := strings.Cut(e.body.Text(), ": "); name {
		case "id":
			e.last = value
		case "data":
			data = []byte(value)
		case "":
			if data != nil {
				return data
			}
		}
	}
	if err := e.body.Err(); err != nil {
		e.t.Fatal(err)
	}
	return nil
}

// until reads the states of one job up to its end.
func (e *events) until(id string, again func(*events) *events) []string {
	e.t.Helper()
	var states []string
	for {
		data := e.next()
		if data == nil {
			e.t.Fatalf("the stream ended after %q", states)
		}
		var job jobs.Job
		if err := json.Unmarshal(data, &job); err != nil {
			e.t.Fatalf("%v: %s", err, data)
		}
		if job.ID == id {
			states = append(states, strings.TrimSpace(string(job.State)+" "+job.Phase))
			if job.State.Terminal() {
				return states
			}
		}
		if again != nil {
			*e = *again(e)
		}
	}
}

// submitTwice posts a job at the first API, and at the last one with the same key, which gives the same job.
func (f *fleet) submitTwice(t *testing.T, payload object) jobs.Job {
	t.Helper()
	var first jobs.Job
	for _, a := range []*api{f.apis[0], f.any()} {
		response := a.open(t, "POST", "/jobs", payload, "Idempotency-Key", "one key")
		defer response.Body.Close()
		var job jobs.Job
		if err := json.NewDecoder(response.Body).Decode(&job); err != nil || response.StatusCode != 202 {
			t.Fatalf("%d %v", response.StatusCode, err)
		}
		replayed := response.Header.Get("Idempotent-Replayed") == "true"
		if first.ID == "" {
			first = job
		} else if first.ID != job.ID || !replayed {
			t.Errorf("job %s, then %s, replayed %v", first.ID, job.ID, replayed)
		}
	}
	return first
}

// Every phase of a run is told once and in order, at every API, whoever follows and however often the connection breaks.
func TestEventsTellARun(t *testing.T) {
	t.Parallel()
	f := split(t)
	first, last := f.apis[0], f.any()
	dir := f.lab("one", "linux2")
	all := last.events(t, "/events", "")
	breaking := first.events(t, "/events?workspace=&action=up", "")
	job := f.submitTwice(t, object{"action": "up", "workdir": dir})
	own := last.events(t, "/jobs/"+job.ID+"/events", "")

	turn := 0
	reconnected := breaking.until(job.ID, func(e *events) *events {
		turn++
		return f.apis[turn%len(f.apis)].events(t, "/events?action=up", e.last)
	})
	states := all.until(job.ID, nil)
	if diff := cmp.Diff(states, reconnected); diff != "" {
		t.Errorf("with a connection for each event: %s", diff)
	}
	// What was before it came is told as it was then.
	if told := own.until(job.ID, nil); len(told) > len(states) || !slices.Equal(told, states[len(states)-len(told):]) {
		t.Errorf("of the job alone %q is told, of all %q", told, states)
	}
	if data := own.next(); data != nil {
		t.Errorf("after the end: %s", data)
	}
	at := -1
	for _, want := range []string{"queued", "running", "running netlab up", "success"} {
		next := slices.Index(states, want)
		if next <= at {
			t.Errorf("%q is not behind state %d of %q", want, at, states)
		}
		at = next
	}
	for i, state := range states {
		if slices.Index(states, state) != i {
			t.Errorf("%q is told twice in %q", state, states)
		}
	}
	if len(states) < 6 {
		t.Errorf("phases are missing: %q", states)
	}

	// The job that is told is the job that is shown.
	behind := first.submit(t, object{"action": "status", "workdir": dir})
	stream := first.events(t, "/jobs/"+behind.ID+"/events", "")
	var told []byte
	for data := stream.next(); data != nil; data = stream.next() {
		told = data
	}
	if status, shown := first.do(t, "GET", "/jobs/"+behind.ID, nil); status != 200 || strings.TrimSpace(string(shown)) != string(told) {
		t.Errorf("told %s\nshown %s", told, shown)
	}
	if status, body := first.do(t, "GET", "/jobs/"+behind.ID+"/events", nil, "Last-Event-ID", stream.last); status != 204 {
		t.Errorf("once more: %d %s", status, body)
	}
}

func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	f := split(t)
	a := f.any()
	var dirs []string
	for _, name := range []string{"one", "two", "three"} {
		dirs = append(dirs, f.chatter(name, object{"gate": "gate"}))
	}
	for _, dir := range dirs[:2] {
		job := a.submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
		a.await(t, job.ID, "running", running)
	}
	waiting := func(id string) string {
		var job jobs.Job
		if err := json.Unmarshal(a.events(t, "/jobs/"+id+"/events", "").next(), &job); err != nil {
			t.Fatal(err)
		}
		if job.Waiting == nil {
			return "nothing"
		}
		return job.Waiting.For
	}
	slot := a.submit(t, object{"action": "create", "workdir": dirs[2], "host": "alpha"})
	behind := a.submit(t, object{"action": "down", "workdir": dirs[2]})
	if got := waiting(slot.ID); got != "slot" {
		t.Errorf("with both slots taken the job waits for %s", got)
	}
	if got := waiting(behind.ID); got != "job" {
		t.Errorf("the job of the same directory waits for %s", got)
	}
	f.workers[0].kill()
	a.await(t, slot.ID, "waiting for its host", func(j *jobs.Job) bool { return j.Waiting != nil && j.Waiting.For == "host" })
	f.startWorker("alpha")
	for _, dir := range dirs {
		openGate(t, dir)
	}
	for _, id := range []string{slot.ID, behind.ID} {
		if job, _ := a.finish(t, id); job.State != jobs.Success || job.Waiting != nil {
			t.Errorf("%s %s, waits for %v", job.State, text(job.Error), job.Waiting)
		}
	}
}
