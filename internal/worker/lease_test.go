package worker

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/hosts"
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
	w.enqueue(ctx, newTask(e))
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

// shortLease lets a lease run out within a second.
func (b *testBundle) shortLease() {
	b.t.Helper()
	limits := bustest.Limits()
	limits.Lease = time.Second
	must(b.t, b.bus.EnsureStreams(b.t.Context(), limits))
}

// A worker whose name another one has taken ends, and says why.
func TestAWorkerWhoseNameIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shortLease()
	ended := make(chan error, 1)
	connection := bustest.Connect(t, b.server, b.worker.Source())
	go func() { ended <- b.worker.Run(t.Context(), connection) }()
	b.eventually("it has its name", func() bool { return b.worker.held.Load() != nil })
	for end := time.After(limit); ; {
		_, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "a", Identity: b.worker.data.identity, StartedAt: time.Now()})
		if !errors.Is(err, bus.ErrConflict) { // it may just renew
			must(t, err)
		}
		select {
		case err := <-ended:
			var taken *bus.TakenError
			if !errors.As(err, &taken) || !taken.Copy {
				t.Errorf("it ended with %v", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		case <-end:
			t.Fatal("it goes on")
		}
	}
}

// A lease that cannot be renewed is not held for longer than it was.
func TestALeaseThatIsNotRenewed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shortLease()
	w := b.worker
	w.bus = b.bus
	lease, err := w.acquire(t.Context())
	must(t, err)
	b.server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- w.keep(ctx, lease) }()
	b.eventually("it has run out", func() bool { return time.Now().After(*w.held.Load()) })
	cancel()
	_ = receive(t, kept) // the bus is away
}

// A worker that is frozen while it takes a request does not acknowledge it any more when it comes back without its name: the bus would
// take it for taken, and the one that has the name never got it.
func TestARequestThatIsTakenTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.worker
	w.bus = b.bus
	w.hold(time.Now().Add(time.Hour))
	frozen := w.ended.file("late")
	must(t, unix.Mkfifo(frozen, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	taken := make(chan error, 1)
	go func() { taken <- w.take(ctx, b.birth("late", jobs.Create), 1) }()
	pipe, err := os.OpenFile(frozen, os.O_WRONLY, 0) // until it is read
	must(t, err)
	w.hold(time.Now().Add(-time.Second))
	must(t, pipe.Close())
	b.eventually("it is in the journal", func() bool { return w.journal.has("late") })
	cancel()
	if err := receive(t, taken); !errors.Is(err, context.Canceled) {
		t.Errorf("it is acknowledged: %v", err)
	}
	b.notYet()
	w.running.Wait()
}

// A job that was claimed begins nothing once the lease may have run out: what it needs may have come late.
func TestARunThatIsPreparedTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.worker
	w.bus = b.bus
	w.netlab = &installation{python: b.config.Python, dataDir: b.config.DataDir, log: b.config.Log}
	w.netlab.looking.Lock()
	w.hold(time.Now().Add(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	must(t, w.take(ctx, b.birth("late", jobs.Up), 1))
	b.await("late", func(m *bus.JobMessage) bool { return m.State == jobs.Running })
	w.hold(time.Now().Add(-time.Second))
	w.netlab.looking.Unlock()
	select {
	case <-b.runs:
		t.Error("it begins")
	case <-time.After(time.Second):
	}
	w.hold(time.Now().Add(time.Hour))
	b.next().result <- exec.Result{}
	b.await("late", ended)
	cancel()
	w.running.Wait()
}
