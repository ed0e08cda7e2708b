package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

// claim is what a worker does with a job first.
func (b *bundle) claim(job jobs.Job) (jobs.Job, uint64) {
	b.t.Helper()
	if err := job.Move(jobs.Start, time.Now()); err != nil {
		b.t.Fatal(err)
	}
	seq, err := b.bus.PublishStatus(b.t.Context(), &job, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return job, seq
}

func (b *bundle) born() jobs.Job {
	b.t.Helper()
	job, err := b.submit(map[string]any{"action": "create", "workdir": "/labs/x"})
	if err != nil {
		b.t.Fatal(err)
	}
	return job
}

// still is a dispatcher whose view follows nothing: an API that is behind.
func (b *bundle) still() *Dispatcher {
	b.t.Helper()
	logs, err := logfile.Open(b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = logs.Close() })
	return New(b.bus, view.New(b.bus, logs, b.t.TempDir()+"/cursor", time.Minute, slog.New(slog.DiscardHandler)), nil)
}

// A queued job is canceled at once, with its worker away.
func TestCancelQueued(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lease := b.host(hosts.Host{Name: "a", Slots: 1})
	job := b.born()
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := b.Cancel(t.Context(), job.ID)
	if err != nil || got.State != jobs.Canceled || got.Reason != jobs.ReasonCanceled || !got.CancelRequested ||
		got.Error == nil || *got.Error != canceledQueued || got.FinishedAt == nil || got.StartedAt != nil || got.Waiting != nil {
		t.Errorf("canceled: %+v %v", got, err)
	}
	if requested, err := b.bus.CancelRequested(t.Context(), "a", job.ID); err != nil || !requested {
		t.Errorf("stored: %v %v", requested, err)
	}
	// Its worker cannot claim it any more.
	late := job
	if err := late.Move(jobs.Start, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.PublishStatus(t.Context(), &late, 0); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("a claim after that: %v, want ErrConflict", err)
	}
	var ended *EndedError
	if _, err := b.Cancel(t.Context(), job.ID); !errors.As(err, &ended) || ended.State != jobs.Canceled {
		t.Errorf("again: %v, want an EndedError", err)
	}
	if _, err := b.Cancel(t.Context(), "01900000-0000-7000-8000-000000000000"); !errors.Is(err, view.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

func TestCancelRunning(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	job, seq := b.claim(b.born())
	b.await(func() bool {
		got, err := b.view.Job(t.Context(), job.ID)
		return err == nil && got.State == jobs.Running
	})
	for range 2 {
		got, err := b.Cancel(t.Context(), job.ID)
		if err != nil || got.State != jobs.Running || !got.CancelRequested {
			t.Errorf("%+v %v", got, err)
		}
	}
	if err := job.Move(jobs.Succeed, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.PublishStatus(t.Context(), &job, seq); err != nil {
		t.Fatal(err)
	}
	b.await(func() bool { got, err := b.view.Job(t.Context(), job.ID); return err == nil && got.State.Terminal() })
	var ended *EndedError
	if _, err := b.Cancel(t.Context(), job.ID); !errors.As(err, &ended) || ended.State != jobs.Success {
		t.Errorf("of a job that has succeeded: %v, want an EndedError", err)
	}
}

// An API that has not seen yet what has become of a job answers all the same as one that has.
func TestCancelByAnAPIThatIsBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 2})
	for name, test := range map[string]struct {
		meanwhile func(job jobs.Job)
		state     jobs.State // "" for an EndedError
	}{
		"claimed": {func(job jobs.Job) { b.claim(job) }, jobs.Running},
		"canceled": {func(job jobs.Job) {
			if _, err := b.Cancel(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
		}, jobs.Canceled},
		"succeeded": {func(job jobs.Job) {
			job, seq := b.claim(job)
			if err := job.Move(jobs.Succeed, time.Now()); err != nil {
				t.Fatal(err)
			}
			if _, err := b.bus.PublishStatus(t.Context(), &job, seq); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		behind := b.still()
		job := b.born()
		if got, err := behind.view.Job(t.Context(), job.ID); err != nil || got.State != jobs.Queued {
			t.Fatalf("%s: %+v %v", name, got, err)
		}
		test.meanwhile(job)
		got, err := behind.Cancel(t.Context(), job.ID)
		var ended *EndedError
		if test.state == "" {
			if !errors.As(err, &ended) {
				t.Errorf("%s: %+v %v, want an EndedError", name, got, err)
			}
			if requested, err := b.bus.CancelRequested(t.Context(), "a", job.ID); err != nil || requested {
				t.Errorf("%s: a request was stored behind the end: %v %v", name, requested, err)
			}
			continue
		}
		if err != nil || !got.CancelRequested {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		// A terminal state is shown by a view that follows; this one has not caught up and shows it at once.
		if got.State != test.state {
			t.Errorf("%s: %s, want %s", name, got.State, test.state)
		}
	}
}

// Many cancels at once through two APIs and a claim: all of them agree on what became of the job.
func TestCancelAndClaimAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 100})
	for range 20 {
		job, behind := b.born(), b.still()
		if _, err := behind.view.Job(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		claimed := make(chan error, 1)
		go func() {
			claim := job
			_ = claim.Move(jobs.Start, time.Now())
			_, err := b.bus.PublishStatus(t.Context(), &claim, 0)
			claimed <- err
		}()
		errs := make(chan error, 2)
		for _, d := range []*Dispatcher{b.Dispatcher, behind} {
			go func() { _, err := d.Cancel(t.Context(), job.ID); errs <- err }()
		}
		var ended *EndedError
		for range 2 {
			if err := <-errs; err != nil && (!errors.As(err, &ended) || ended.State != jobs.Canceled) {
				t.Errorf("cancel: %v", err)
			}
		}
		want := jobs.Running
		if err := <-claimed; errors.Is(err, bus.ErrConflict) {
			want = jobs.Canceled
		} else if err != nil {
			t.Fatal(err)
		}
		b.await(func() bool {
			got, err := b.view.Job(t.Context(), job.ID)
			return err == nil && got.State == want && got.CancelRequested
		})
	}
}

func TestCancelWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	job := b.born()
	b.bus.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := b.Cancel(ctx, job.ID); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if got, err := b.view.Job(ctx, job.ID); err != nil || got.State != jobs.Queued || got.CancelRequested {
		t.Errorf("then %+v %v", got, err)
	}
}
