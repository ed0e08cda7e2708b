package view

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// answer is the JSON of a job as clients are shown it.
func answer(t *testing.T, v *View, id string) string {
	t.Helper()
	job, err := v.Show(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := job.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A job that has ended is shown the same by the API that saw it end, by one that was started since, and whenever it is asked for again.
func TestAnEndedJobIsShownTheSameForEver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.log(job, "one\n", 0)
	if _, err := b.bus.RequestCancel(t.Context(), "a", "j1"); err != nil { // of which its worker did not hear in time
		t.Fatal(err)
	}
	text := "nodes: <a> & <b>"
	job.Error, job.Warnings, job.Kept = &text, []string{"a warning"}, &jobs.Kept{Files: 1, Bytes: 3}
	b.ends(v, "j2", "two\n")
	b.move(job, jobs.Fail, seq)
	b.eventually("it has ended", func() bool { return followed(v, "j1") == jobs.Failed })
	ids := []string{"j1", "j2"}
	want := map[string]string{}
	for _, id := range ids {
		want[id] = answer(t, v, id)
	}
	shown := *job
	shown.LogPath, shown.CancelRequested = v.logs.Path("j1"), true
	encoded, err := jobs.Encode(&shown)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(encoded), want["j1"]); diff != "" {
		t.Error(diff)
	}
	if got, _ := v.Known("j1"); !cmp.Equal(shown, got) {
		t.Error(cmp.Diff(shown, got))
	}
	stop()
	v, _ = b.run(time.Minute)
	for _, id := range ids {
		for range 2 {
			if diff := cmp.Diff(want[id], answer(t, v, id)); diff != "" {
				t.Errorf("%s after a start: %s", id, diff)
			}
		}
		if v.jobs[id].open != nil || !v.jobs[id].answer {
			t.Errorf("%s: more is kept than its answer", id)
		}
	}
	if page, _, err := v.Page(Filter{}, 10, ""); err != nil || len(page) != 2 || page[1].ID != "j1" || page[1].LogBytes != job.LogBytes {
		t.Errorf("listed: %+v, %v", page, err)
	}
	if got := v.Counts().LogBytes; got != 8 {
		t.Errorf("%d bytes of logs are counted", got)
	}
}

// The end of a job is found by asking, before the request for it is read.
func TestACancelThatIsHeardBehindTheEnd(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	for id, seq := range map[string]uint64{"before": 8, "behind": 10} {
		v.take(&bus.JobMessage{Job: jobs.Job{ID: id, State: jobs.Canceled, Host: "a"}, Seq: 9})
		v.CancelRequested(id, seq)
		if got, _ := v.Known(id); got.CancelRequested != (id == "before") || got.State != jobs.Canceled {
			t.Errorf("%s its end: %+v", id, got)
		}
	}
}
