package view

import (
	"errors"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/jobs"
)

// A request for a job's end is seen by an API that did not take it, and by one that starts afterwards.
func TestCancelRequestsAreShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	requested := func(v *View, id string) bool {
		t.Helper()
		job, err := v.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return job.CancelRequested
	}
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.born("j2", "a", "/y")
	if requested(v, "j1") {
		t.Error("shown before it is requested")
	}
	if _, err := b.bus.RequestCancel(t.Context(), "a", "j1"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the request is shown", func() bool { return requested(v, "j1") })
	restart := func() {
		t.Helper()
		stop()
		v, stop = b.run(time.Minute)
		if !requested(v, "j1") || requested(v, "j2") {
			t.Errorf("after a restart: %v %v", requested(v, "j1"), requested(v, "j2"))
		}
	}
	restart()
	if got := b.state(v, "j1"); got != jobs.Running {
		t.Errorf("state %s", got)
	}
	// Its worker tells of the job without it: it had not heard.
	job.Phase = "later"
	seq, err := b.bus.PublishStatus(t.Context(), job, seq)
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the later state is shown", func() bool {
		got, err := v.Job(t.Context(), "j1")
		return err == nil && got.Phase == "later"
	})
	if !requested(v, "j1") {
		t.Error("forgotten with a later state")
	}
	b.move(job, jobs.Succeed, seq)
	b.eventually("the end is shown", func() bool { return b.state(v, "j1") == jobs.Success })
	if !requested(v, "j1") {
		t.Error("forgotten with the end")
	}
	// A request behind the end, which an earlier release let through, changes nothing of the job.
	other := b.born("j3", "a", "/z")
	b.move(other, jobs.Succeed, b.move(other, jobs.Start, 0))
	if _, err := b.bus.RequestCancel(t.Context(), "a", "j3"); !errors.Is(err, bus.ErrEnded) {
		t.Errorf("a request behind the end: %v", err)
	}
	v.CancelRequested("j3", bustest.Publish(t, b.server, "netlab.in.a.j3.cancel", []byte(`{"id":"j3"}`)))
	b.born("j4", "a", "/z")
	b.eventually("all is read", func() bool { return followed(v, "j4") == jobs.Queued })
	if requested(v, "j3") {
		t.Error("requested behind the end, and shown")
	}
	restart()
	if requested(v, "j3") {
		t.Error("requested behind the end, and shown after a restart")
	}
}
