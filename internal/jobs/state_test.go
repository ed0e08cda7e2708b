package jobs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

// The whole life of a job, written out: an empty cell is a refused move.
var lifeOfAJob = []struct {
	from  jobs.State
	cells map[jobs.Event]jobs.State
}{
	{jobs.Queued, map[jobs.Event]jobs.State{
		jobs.Start: jobs.Running, jobs.Progress: "",
		jobs.Succeed: "", jobs.Fail: jobs.Failed, jobs.Cancel: jobs.Canceled,
	}},
	{jobs.Running, map[jobs.Event]jobs.State{
		jobs.Start: "", jobs.Progress: jobs.Running,
		jobs.Succeed: jobs.Success, jobs.Fail: jobs.Failed, jobs.Cancel: jobs.Canceled,
	}},
	{jobs.Success, map[jobs.Event]jobs.State{
		jobs.Start: "", jobs.Progress: "", jobs.Succeed: "", jobs.Fail: "", jobs.Cancel: "",
	}},
	{jobs.Failed, map[jobs.Event]jobs.State{
		jobs.Start: "", jobs.Progress: "", jobs.Succeed: "", jobs.Fail: "", jobs.Cancel: "",
	}},
	{jobs.Canceled, map[jobs.Event]jobs.State{
		jobs.Start: "", jobs.Progress: "", jobs.Succeed: "", jobs.Fail: "", jobs.Cancel: "",
	}},
}

func TestEveryMove(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := time.Date(2026, 1, 2, 5, 4, 6, 789, time.FixedZone("", 7200)) // 03:04:06Z and a bit
	second := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	pairs := 0
	for _, row := range lifeOfAJob {
		if len(row.cells) != len(jobs.Events) {
			t.Errorf("%s: the table has %d events of %d", row.from, len(row.cells), len(jobs.Events))
		}
		for _, event := range jobs.Events {
			pairs++
			to, ok := row.cells[event]
			if !ok {
				t.Errorf("%s, %s is not in the table", row.from, event)
			}
			before := jobs.Job{
				State: row.from, CreatedAt: created, Phase: "provider", Waiting: &jobs.Waiting{For: "slot"},
			}
			job := before
			err := job.Move(event, at)

			if to == "" {
				var refused *jobs.MoveError
				if !errors.As(err, &refused) || refused.State != row.from || refused.Event != event {
					t.Errorf("%s, %s: %v", row.from, event, err)
				}
				if diff := cmp.Diff(before, job); diff != "" {
					t.Errorf("%s, %s is refused and changed the job (-before +after):\n%s", row.from, event, diff)
				}
				continue
			}
			want := before
			want.State = to
			want.Waiting = nil
			if event == jobs.Start {
				want.StartedAt = &second
			}
			if to == jobs.Success || to == jobs.Failed || to == jobs.Canceled {
				want.FinishedAt = &second
				want.Phase = ""
			}
			if diff := cmp.Diff(want, job); diff != "" || err != nil {
				t.Errorf("%s, %s: %v (-want +got):\n%s", row.from, event, err, diff)
			}
		}
	}
	if want := len(jobs.States) * len(jobs.Events); pairs != want || len(lifeOfAJob) != len(jobs.States) {
		t.Errorf("%d pairs of %d", pairs, want)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	want := map[jobs.State]bool{
		jobs.Queued: false, jobs.Running: false, jobs.Success: true, jobs.Failed: true, jobs.Canceled: true,
	}
	for _, s := range jobs.States {
		if s.Terminal() != want[s] {
			t.Errorf("%s: %v", s, s.Terminal())
		}
	}
}

func TestTheTimesOfALife(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	job := jobs.Job{State: jobs.Queued, CreatedAt: clock}
	for _, event := range []jobs.Event{jobs.Start, jobs.Progress, jobs.Succeed} {
		clock = clock.Add(time.Minute)
		if err := job.Move(event, clock); err != nil {
			t.Fatal(err)
		}
	}
	for name, pair := range map[string][2]time.Time{
		"createdAt":  {time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), job.CreatedAt},
		"startedAt":  {time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC), *job.StartedAt},
		"finishedAt": {time.Date(2026, 1, 2, 3, 7, 5, 0, time.UTC), *job.FinishedAt},
	} {
		if !pair[0].Equal(pair[1]) {
			t.Errorf("%s: %v, not %v", name, pair[1], pair[0])
		}
	}
}
