package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// A worker that may have lost its host's name, because it was frozen, takes no request and claims no job before its lease is
// renewed.
func TestNothingBeginsWithoutTheLease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.worker
	w.bus = b.bus
	w.hold(time.Now().Add(-time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	// One that it had taken before.
	e, _, err := w.journal.add(b.birth("taken", jobs.Up), 1, false)
	must(t, err)
	w.enqueue(ctx, e)
	if err := w.take(ctx, b.birth("sent", jobs.Up), 2); !errors.Is(err, context.DeadlineExceeded) || w.journal.has("sent") {
		t.Errorf("a request was taken: %v", err)
	}
	w.running.Wait()
	if last, err := b.bus.LastStatus(t.Context(), "a", "taken"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a job was claimed: %+v, %v", last, err)
	}
	w.hold(time.Now().Add(time.Hour))
	must(t, w.take(t.Context(), b.birth("sent", jobs.Up), 2))
	b.next().result <- exec.Result{}
	b.await("sent", ended)
	w.running.Wait()
}
