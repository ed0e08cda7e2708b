package view

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// many is a view of so many jobs that have ended, one in a thousand of them of the user "rare", and of 500 in the queue.
func many(tb testing.TB, count int) *View {
	tb.Helper()
	away, err := bus.Connect(bus.Config{URL: "nats://127.0.0.1:1"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(away.Close)
	logs, err := logfile.Open(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = logs.Close() })
	v := New(away, logs, "", time.Minute, slog.New(slog.DiscardHandler))
	for n := range count {
		job := jobs.Job{ID: fmt.Sprintf("j%d", n), Action: jobs.Create, State: jobs.Success, Host: "a", User: "often"}
		if n%1000 == 0 {
			job.User = "rare"
		}
		if n >= count-500 {
			job.State = jobs.Queued
		}
		m := &bus.JobMessage{Job: job, Seq: uint64(n + 1)}
		v.takeLocked(m)
		v.happened(v.jobs[job.ID], m.Seq, &m.Job, 1)
	}
	for _, part := range []string{partJobs, partLogs, partHosts} {
		v.caughtUp(part, &turn{})
	}
	return v
}

func BenchmarkPageOfARareUser(b *testing.B) {
	v := many(b, 100_000)
	for b.Loop() {
		if page, _, err := v.Page(Filter{User: "rare"}, 1000, ""); err != nil || len(page) != 100 {
			b.Fatal(len(page), err)
		}
	}
}

// Half of the jobs have the one value, half the other, and only the oldest ones both.
func BenchmarkPageOfValuesThatFewHaveTogether(b *testing.B) {
	v := many(b, 0)
	for n := range 100_000 {
		job := jobs.Job{ID: fmt.Sprintf("j%d", n), Action: jobs.Create, State: jobs.Success, User: "one", Workspace: "another"}
		switch {
		case n < 50:
		case n%2 == 0:
			job.User = "another"
		default:
			job.Workspace = "one"
		}
		v.takeLocked(&bus.JobMessage{Job: job, Seq: uint64(n + 1)})
	}
	for b.Loop() {
		if page, _, err := v.Page(Filter{User: "one", Workspace: "another"}, 50, ""); err != nil || len(page) != 50 {
			b.Fatalf("%d jobs, %v", len(page), err)
		}
	}
}

func BenchmarkPageOfTheNewest(b *testing.B) {
	v := many(b, 100_000)
	for b.Loop() {
		if page, _, err := v.Page(Filter{}, 1000, ""); err != nil || len(page) != 1000 {
			b.Fatal(len(page), err)
		}
	}
}

func BenchmarkPresentStateOfAllJobs(b *testing.B) {
	v := many(b, 100_000)
	for b.Loop() {
		zero := uint64(0)
		f := v.Follow(Filter{}, "", at(zero))
		for n := 0; n < 100_000; {
			events, err := f.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n += len(events)
		}
	}
}

func BenchmarkCounts(b *testing.B) {
	v := many(b, 100_000)
	for b.Loop() {
		v.Counts()
	}
}

// BenchmarkStartWithManyJobs is what an API does before it serves where the bus has 100,000 jobs that have ended.
func BenchmarkStartWithManyJobs(b *testing.B) {
	const count, writers = 100_000, 64
	limits := bustest.Limits()
	limits.JobsBytes = 1 << 30
	onBus, _ := bustest.NewServerWith(b, limits)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for n := w; n < count; n += writers {
				storeEnded(b, onBus, n)
			}
		})
	}
	writing.Wait()
	for b.Loop() {
		logs, err := logfile.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		v := New(onBus, logs, filepath.Join(b.TempDir(), "cursor"), time.Minute, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.Run(ctx)
		}()
		v.AwaitCaughtUp(ctx)
		b.StopTimer()
		if counts := v.Counts(); counts.Jobs[Kind{jobs.Create, jobs.Success}] != count {
			b.Fatal(counts)
		}
		cancel()
		<-done
		_ = logs.Close()
		with := heap()
		runtime.KeepAlive(v)
		b.ReportMetric(float64(with-heap())/count, "heap-B/job")
		b.StartTimer()
	}
}

// storeEnded gives birth to a job, and ends it.
func storeEnded(b *testing.B, onBus *bus.Bus, n int) {
	at := time.Unix(1_800_000_000, 0).UTC()
	job := &jobs.Job{
		ID: fmt.Sprintf("01986a5c-58a3-7e07-9d7c-%012d", n), Action: jobs.Create, State: jobs.Queued, User: "alice", Workspace: "skyforge",
		Deployment: fmt.Sprintf("lab-%d", n%500), Workdir: fmt.Sprintf("/home/alice/netlab/skyforge/lab-%d", n%500), Host: fmt.Sprintf("host-%d", n%10),
		Placement: "most room of 10", CreatedAt: at, Warnings: []string{},
		Request: jobs.Request{Action: jobs.Create, User: "alice", Workspace: "skyforge", Deployment: fmt.Sprintf("lab-%d", n%500)},
	}
	_, err := onBus.Submit(b.Context(), &bus.Birth{Job: *job})
	last := uint64(0)
	for _, e := range []jobs.Event{jobs.Start, jobs.Succeed} {
		if err == nil {
			err = job.Move(e, at)
		}
		if err == nil {
			last, err = onBus.PublishStatus(b.Context(), job, last)
		}
	}
	if err != nil {
		b.Error(err)
	}
}

// heap is how much memory is in use.
func heap() int64 {
	for range 3 {
		runtime.GC() // what pools hold goes with the second
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkWaitingBehindMany is what the answer to a POST has to say of a job behind 500 others.
func BenchmarkWaitingBehindMany(b *testing.B) {
	v := many(b, 1000)
	v.hear(bus.HostEvent{Name: "a", Host: &hosts.Host{Name: "a", Slots: 1}}, time.Now())
	for b.Loop() {
		if job, _ := v.Known("j999"); job.Waiting.For != "job" {
			b.Fatal(job.Waiting)
		}
	}
}
