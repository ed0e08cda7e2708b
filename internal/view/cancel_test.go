package view

import (
	"testing"
	"time"

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
	b.move(b.born("j1", "a", "/x"), jobs.Start, 0)
	b.born("j2", "a", "/y")
	if requested(v, "j1") {
		t.Error("shown before it is requested")
	}
	if err := b.bus.RequestCancel(t.Context(), "a", "j1"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the request is shown", func() bool { return requested(v, "j1") })
	stop()
	again, stop := b.run(time.Minute)
	defer stop()
	if !requested(again, "j1") || requested(again, "j2") {
		t.Errorf("after a restart: %v %v", requested(again, "j1"), requested(again, "j2"))
	}
	if got := b.state(again, "j1"); got != jobs.Running {
		t.Errorf("state %s", got)
	}
}
