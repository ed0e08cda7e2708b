package api

import (
	"net/http"
	"testing"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	told := hostNamed("a")
	told.Queued = 7
	b.online(told)
	bodies := []string{"{}", "", "null", "no JSON", `{"id":"another"}`}
	cancel := func(id string) reply {
		bodies = append(bodies[1:], bodies[0]) // whichever it is, it means nothing
		return b.do(http.MethodPost, "/jobs/"+id+"/cancel", bodies[0], "Content-Type: application/json")
	}

	queued := b.submit(`{"action":"create","workdir":"/home/lab/queued"}`)
	got := cancel(queued.ID)
	if job := decode[jobs.Job](t, got.body); got.status != http.StatusOK || job.State != jobs.Canceled || !job.CancelRequested ||
		job.Reason != jobs.ReasonCanceled || job.Error == nil {
		t.Errorf("queued: %d %s", got.status, got.body)
	}
	b.isError(cancel(queued.ID), http.StatusConflict, "ended as canceled")

	running := b.running()
	running.shown()
	for range 2 {
		got = cancel(running.ID)
		if job := decode[jobs.Job](t, got.body); got.status != http.StatusOK || job.State != jobs.Running || !job.CancelRequested {
			t.Errorf("running: %d %s", got.status, got.body)
		}
	}
	// The canceled one counts no more, whatever the host has told with its lease.
	if got := decode[struct{ Hosts []hosts.Host }](t, b.get("/hosts").body).Hosts[0]; got.Running != 1 || got.Queued != 0 {
		t.Errorf("%d running and %d queued", got.Running, got.Queued)
	}
	if again := b.get("/jobs/" + running.ID); !decode[jobs.Job](t, again.body).CancelRequested {
		t.Errorf("shown afterwards: %s", again.body)
	}

	ended := b.ended("text")
	b.isError(cancel(ended.ID), http.StatusConflict, "ended as success")
	b.isError(cancel("nothing"), http.StatusNotFound, "Job nothing not found")
	b.isError(cancel("01900000-0000-7000-8000-000000000000"), http.StatusNotFound, "not found")
	b.isError(b.get("/jobs/"+ended.ID+"/cancel"), http.StatusMethodNotAllowed, "POST")

	waiting := b.submit(`{"action":"create","workdir":"/home/lab/waiting"}`)
	b.server.Stop()
	b.eventually("the loss of the bus", func() bool { return !b.bus.Connected() })
	b.isError(cancel(waiting.ID), http.StatusServiceUnavailable, "bus")
}
