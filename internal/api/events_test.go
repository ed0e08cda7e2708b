package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

var jobEvent = regexp.MustCompile(`^event: job\nid: (\d+-[0-9a-f]+)\ndata: (\{.*\})$`)

// job reads the next event, which must be a job's. Blocks without data are passed over, as browsers do.
func (e events) job(t *testing.T) (id string, job jobs.Job, data string) {
	t.Helper()
	for {
		text := e.next(t)
		if text == ":" || strings.HasPrefix(text, "id: ") {
			continue
		}
		m := jobEvent.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("got %q", text)
		}
		return m[1], decode[jobs.Job](t, m[2]), m[2]
	}
}

func (e events) expect(t *testing.T, id string, state jobs.State) (event string) {
	t.Helper()
	event, job, _ := e.job(t)
	if job.ID != id || job.State != state {
		t.Errorf("job %s is %s, want %s %s", job.ID, job.State, id, state)
	}
	return event
}

func TestEventsOfAJob(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.submit(`{"action":"create","workdir":"/home/lab/<one>"}`)
	path := "/jobs/" + p.ID
	resp := b.open(path + "/events")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-cache, no-transform"} {
		if got := resp.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	stream := newEvents(resp)
	first, _, data := stream.job(t)
	if shown := b.get(path).body; shown != data+"\n" {
		t.Errorf("event %s\nshown %s", data, shown)
	}
	p.move(jobs.Start)
	running := stream.expect(t, p.ID, jobs.Running)
	for _, phase := range []string{"create", "start"} {
		p.Phase = phase
		p.move(jobs.Progress)
		if _, job, _ := stream.job(t); job.Phase != phase {
			t.Errorf("phase %q, want %q", job.Phase, phase)
		}
	}
	p.write("line\n")
	p.move(jobs.Succeed)
	last, _, data := stream.job(t)
	if shown := b.get(path).body; shown != data+"\n" {
		t.Errorf("event %s\nshown %s", data, shown)
	}
	if got := stream.next(t); got != "" {
		t.Errorf("%q after the end", got)
	}

	// The header counts more than the parameter, which a browser sends again with each connection.
	for header, states := range map[string]int{first: 4, running: 3} {
		again := newEvents(b.open(path+"/events?lastEventId=1", "Last-Event-ID: "+header))
		for n := range states {
			if _, job, _ := again.job(t); job.State.Terminal() != (n == states-1) {
				t.Errorf("state %d after %s is %s", n, header, job.State)
			}
		}
		if got := again.next(t); got != "" {
			t.Errorf("%q after the end", got)
		}
	}
	newEvents(b.open(path + "/events?lastEventId=" + running)).job(t)
	for _, parameter := range []string{"", "?lastEventId=1"} {
		got := b.get(path+"/events"+parameter, "Last-Event-ID: "+last)
		b.is(got, http.StatusNoContent, "")
	}
	b.isError(b.get("/jobs/none/events"), http.StatusNotFound, "Job none not found")
}

func TestEventsOfAllJobs(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = 50 * time.Millisecond })
	b.online(hostNamed("a"))
	gone := b.ended("text\n")
	stays := b.submit(`{"action":"create","workdir":"/home/lab/stays","user":"u1"}`)
	b.eventually("the event", func() bool { return b.view.EventsUpTo() > 3 })
	all := newEvents(b.open("/events"))
	all.expect(t, stays.ID, jobs.Queued)
	idle := all.next(t)
	m := regexp.MustCompile(`^id: (\d+-[0-9a-f]+)$`).FindStringSubmatch(idle)
	if m == nil {
		if idle != ":" {
			t.Fatalf("got %q, want where the stream stands", idle)
		}
		m = []string{"", fmt.Sprint(b.view.EventsUpTo())} // as of an earlier release
	}
	if got := all.next(t); got != ":" {
		t.Errorf("got %q, want a heartbeat", got)
	}
	other := newEvents(b.open("/events?user=u2&lastEventId=" + m[1]))
	p := b.submit(`{"action":"create","workdir":"/home/lab/two","user":"u2"}`)
	for _, stream := range []events{all, other} {
		stream.expect(t, p.ID, jobs.Queued)
	}
	stays.move(jobs.Start)
	all.expect(t, stays.ID, jobs.Running)
	// Whoever comes again for what it wants is not sent back to where that last happened.
	for {
		text := other.next(t)
		if id, ok := strings.CutPrefix(text, "id: "); ok {
			if id, ok := view.ParseEventID(id); ok && id.Seq >= b.view.EventsUpTo() {
				break
			}
		} else if text != ":" {
			t.Fatalf("got %q", text)
		}
	}
	// One with an old id, or with one that the bus has lost or of another bus, has the newest state of each.
	for _, id := range []string{"0", "18446744073709551615", "18446744073709551615-" + m[1][strings.Index(m[1], "-")+1:], "1-18c3f2a9b7d0e1f2"} {
		old := newEvents(b.open("/events", "Last-Event-ID: "+id))
		seen := map[string]jobs.State{}
		for seen[stays.ID] != jobs.Running {
			_, job, _ := old.job(t)
			seen[job.ID] = job.State
		}
		if seen[gone.ID] != jobs.Success || seen[p.ID] != jobs.Queued {
			t.Errorf("%s: seen %v", id, seen)
		}
	}
	// Where the bus is away nobody knows whether there was such an id. An error would be the end for a browser.
	b.server.Stop()
	away := newEvents(b.open("/events", "Last-Event-ID: 18446744073709551615"))
	away.expect(t, p.ID, jobs.Queued)
	away.expect(t, stays.ID, jobs.Running)
}

func TestEventsNameEveryFault(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, id := range []string{"x", "-1", "1.5", "18446744073709551616", "1%2C2", "1-", "1-0"} {
		for _, path := range []string{"/events", "/jobs/x/events"} {
			b.isError(b.get(path+"?lastEventId="+id), http.StatusBadRequest, "lastEventId: ")
		}
	}
	b.isError(b.get("/events", "Last-Event-ID: x"), http.StatusBadRequest, "Last-Event-ID: ")
	b.isError(b.get("/events?state=done&action=fly"), http.StatusBadRequest, "state: ", "; action: ")
	if got := b.do(http.MethodHead, "/events", ""); got.status != http.StatusOK || got.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
	b.isError(b.do(http.MethodPost, "/events", ""), http.StatusMethodNotAllowed)
}

func TestShutdownEndsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.submit(`{"action":"create","workdir":"/home/lab/one"}`)
	var streams []events
	for _, path := range []string{"/events", "/jobs/" + p.ID + "/events"} {
		stream := newEvents(b.open(path))
		stream.expect(t, p.ID, jobs.Queued)
		streams = append(streams, stream)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	if err := b.api.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for _, stream := range streams {
		for text := stream.next(t); text != ""; text = stream.next(t) {
			if strings.HasPrefix(text, "event") {
				t.Errorf("got %q", text)
			}
		}
	}
}

// A client that goes away is noticed though nothing happens, and its place is free again.
func TestGoneReadersOfEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	var all []*opened
	for range 20 {
		all = append(all, b.open("/events"))
	}
	b.eventually("the readers", func() bool { return b.api.app.Server().GetCurrentConcurrency() >= 20 })
	for _, o := range all {
		o.close()
	}
	b.eventually("the readers to be gone", func() bool { return b.api.app.Server().GetCurrentConcurrency() == 0 })
}
