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

// The answer that is kept of a job that runs is never older than what is known of it.
func TestTheAnswerOfAJobThatRuns(t *testing.T) {
	t.Parallel()
	v := setup(t).unfed()
	same := func(what string) {
		t.Helper()
		for range 2 { // it is made, and then kept
			known, ok := v.Known("j1")
			want, err := jobs.Encode(&known)
			if err != nil || !ok {
				t.Fatal(err, ok)
			}
			if diff := cmp.Diff(string(want), answer(t, v, "j1")); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
	}
	job := jobs.Job{ID: "j1", Host: "a", Action: jobs.Create, State: jobs.Running, Phase: "one", CreatedAt: time.Unix(1_800_000_000, 0).UTC(), Warnings: []string{}}
	take := func(seq uint64) { v.take(&bus.JobMessage{Job: job, Seq: seq}) }
	take(1)
	same("it runs")
	if v.jobs["j1"].open.answered.text == nil {
		t.Error("its answer is not kept")
	}
	if err := v.logs.Get("j1").Append(0, []byte("text\n")); err != nil {
		t.Fatal(err)
	}
	same("its log grows")
	v.CancelRequested("j1", 2)
	same("it is to be canceled")
	// One that is being made while the job moves on is not kept.
	late, err := v.Show(t.Context(), "j1")
	if err != nil {
		t.Fatal(err)
	}
	late.text, late.answer = nil, false
	job.Phase = "two"
	take(3)
	if _, err := late.JSON(); err != nil {
		t.Fatal(err)
	}
	same("it has another phase")
	job.State, job.LogBytes = jobs.Canceled, 5
	take(4)
	same("it has ended")
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
