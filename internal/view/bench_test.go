package view

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"netlab-runner/internal/bus"
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
		v.caughtUp(part)
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
		f := v.Follow(Filter{}, "", &zero)
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
