package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// What this API remembers of a working directory may be wrong: another API has placed it, or moved it, or the bus has lost it.
func TestThePlaceIsTheBuss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	b.host(hosts.Host{Name: "b", Slots: 9})
	const most, there = "most room of 2", "the working directory is on this host"
	placed := func(workdir string, action jobs.Action, host, why string) {
		t.Helper()
		job, err := b.submit(map[string]any{"workdir": workdir, "action": action})
		if err != nil || job.Host != host || job.Placement != why {
			t.Errorf("%s %s: on %q, %q (%v); want %q, %q", action, workdir, job.Host, job.Placement, err, host, why)
		}
	}
	// Who only reads places nothing.
	placed("/labs/read", jobs.Status, "b", most)
	if host, err := b.bus.PlaceOf(t.Context(), "/labs/read"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a status has placed its directory on %q (%v)", host, err)
	}
	placed("/labs/new", jobs.Up, "b", most)
	placed("/labs/new", jobs.Up, "b", there)
	placed("/labs/new", jobs.Status, "b", there)
	for _, workdir := range []string{"/labs/new", "/labs/others"} {
		if err := b.bus.MovePlace(t.Context(), workdir, "a"); err != nil {
			t.Fatal(err)
		}
		placed(workdir, jobs.Up, "a", there)
		placed(workdir, jobs.Up, "a", there)
	}
	b.had.add("/labs/lost")
	placed("/labs/lost", jobs.Up, "b", most)
}

// Whatever ends the note of the host of a job that was born, its client hears that there is one.
func TestAPlaceThatIsNotNoted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	job := jobs.Job{ID: "j1", Host: "a", Workdir: "/labs/x", Action: jobs.Up, Request: jobs.Request{Host: "a"}}
	err := b.settle(ctx, &job)
	if !errors.Is(err, bus.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the job was accepted as j1") {
		t.Errorf("%v", err)
	}
}

func TestFewDirectoriesAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRecent(3)
	for n := range 10 {
		r.add(fmt.Sprint(n))
		if !r.has(fmt.Sprint(n)) || len(r.workdir) > 3 {
			t.Errorf("after %d: %v", n, r.workdir)
		}
	}
}
