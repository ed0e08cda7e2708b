package view

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// endedNow is the ids of the jobs that may be let go, in order.
func endedNow(v *View) []string {
	list, _, _ := v.Ended(100)
	var ids []string
	for i := range list {
		ids = append(ids, list[i].Job.ID)
	}
	return ids
}

// ends is a job from its birth to its end.
func (b *bundle) ends(v *View, id, log string) *jobs.Job {
	b.t.Helper()
	job := b.born(id, "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.log(job, log, 0)
	b.move(job, jobs.Succeed, seq)
	b.eventually(id+" has ended", func() bool { return followed(v, id) == jobs.Success })
	return job
}

func (b *bundle) forget(v *View, id string) {
	b.t.Helper()
	list, _, _ := v.Ended(100)
	for i := range list {
		if list[i].Job.ID == id {
			if err := b.bus.LetGo(b.t.Context(), &list[i].Job, list[i].UpTo); err != nil {
				b.t.Fatal(err)
			}
			v.Forget(&list[i])
			return
		}
	}
	b.t.Fatalf("%s has not ended", id)
}

// An end whose log is not whole here is none yet.
func TestAJobWhoseLogIsNotWholeHasNotEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	b.ends(v, "before", "one\n")
	job := b.born("j1", "a", "/x")
	seq := b.move(job, jobs.Start, 0)
	b.eventually("it runs", func() bool { return followed(v, "j1") == jobs.Running })
	v.logs.Get("j1") // where a directory is, there is no file
	if err := os.Mkdir(filepath.Join(b.dir, "logs", "j1.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.log(job, "one\ntwo\n", 0)
	b.move(job, jobs.Succeed, seq)
	b.eventually("its end has come", func() bool {
		v.mu.RLock()
		defer v.mu.RUnlock()
		return v.jobs["j1"].ending() != nil
	})
	if diff := cmp.Diff([]string{"before"}, endedNow(v)); diff != "" {
		t.Error(diff)
	}
	if err := os.Remove(filepath.Join(b.dir, "logs", "j1.log")); err != nil {
		t.Fatal(err)
	}
	b.eventually("it has ended", func() bool { return followed(v, "j1") == jobs.Success })
	if diff := cmp.Diff([]string{"before", "j1"}, endedNow(v)); diff != "" {
		t.Error(diff)
	}
}

func TestReadersOfAJobThatIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	b.ends(v, "j1", "one\n")
	b.ends(v, "j2", "one\n")
	zero := uint64(0)
	one, all := v.Follow(Filter{}, "j1", at(zero)), v.Follow(Filter{}, "", at(zero))
	log, err := v.Log(t.Context(), "j1")
	if err != nil {
		t.Fatal(err)
	}
	b.forget(v, "j1")
	if _, err := v.Job(t.Context(), "j1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the job: %v", err)
	}
	if _, err := v.Log(t.Context(), "j1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the log: %v", err)
	}
	if _, err := log.ReadAt(make([]byte, 1), 0); !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("a reader of the log: %v", err)
	}
	if !one.Over() {
		t.Error("a follower of the job would wait for ever")
	}
	// Who was told less before gets what happened all the same.
	b.reads(all, "j1 queued", "j1 running", "j1 success", "j2 queued", "j2 running", "j2 success")
	b.nothing(all)
	stop()
	again, _ := b.run(time.Minute)
	if _, err := again.Job(t.Context(), "j1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("after a start: %v", err)
	}
	b.reads(again.Follow(Filter{}, "", at(zero)), "j2 success")
}

// fetching is a view that is just fetching the log of a job that has ended. It goes on when goOn is called, which gives the reader's error.
func (b *bundle) fetching(id string) (v *View, goOn func() error) {
	b.t.Helper()
	v, _ = b.run(time.Minute)
	b.ends(v, id, "one\n")
	if err := os.Remove(v.logs.Path(id)); err != nil {
		b.t.Fatal(err)
	}
	v.filling <- struct{}{}
	read := make(chan error, 1)
	go func() {
		_, err := v.Log(b.t.Context(), id)
		read <- err
	}()
	b.eventually("the file is missed", func() bool { return v.logs.Get(id).Size() == 0 })
	return v, func() error {
		<-v.filling
		return <-read
	}
}

// A log that is just being fetched when its job is let go is not taken for an empty one.
func TestALogThatIsLetGoWhileItIsFetched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, goOn := b.fetching("j1")
	b.forget(v, "j1")
	if err := goOn(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
}

// What comes of a log while its job is let go leaves no file.
func TestALogThatComesWhileItsJobIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, goOn := b.fetching("j1")
	list, _, _ := v.Ended(1)
	v.Forget(&list[0]) // the bus has it still
	if err := goOn(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	b.eventually("there is no file", func() bool {
		_, err := os.Stat(v.logs.Path("j1"))
		return errors.Is(err, os.ErrNotExist)
	})
}

// A job is let go while its log is fetched, and its id is born again: the log of the later one is not taken for it.
func TestALogWhoseJobIsBornAgainWhileItIsFetched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, goOn := b.fetching("j1")
	b.forget(v, "j1")
	again := b.rebirth("j1")
	b.move(again, jobs.Start, 0)
	b.eventually("the later one runs", func() bool { return followed(v, "j1") == jobs.Running })
	if err := goOn(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, finished, err := v.logs.Get("j1").Wait(ctx, 0, nil); finished || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the log of the later one is finished: %t, %v", finished, err)
	}
}

// What the stream has of a job is known when its end comes from there, and not when this API has published the end.
func TestAnEndThatDidNotComeFromTheBusIsNoneYet(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	job := jobs.Job{ID: "j1", State: jobs.Queued, Host: "a"}
	v.Add(&bus.Birth{Job: job}, 1)
	v.happened(v.jobs["j1"], 1, &job, 1)
	job.State = jobs.Canceled
	v.Moved(&bus.JobMessage{Job: job, Seq: 3})
	if got := endedNow(v); len(got) > 0 {
		t.Errorf("before: %q", got)
	}
	v.happened(v.jobs["j1"], 3, &job, 1)
	if list, total, _ := v.Ended(1); total != 1 || len(list) != 1 || list[0].UpTo != 3 {
		t.Errorf("then: %+v", list)
	}
}

// The time of an end that this API has published is that of the bus, as soon as it comes from there.
func TestAnOwnEndGetsTheTimeOfTheBus(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	var ends []*jobs.Job
	for i := range uint64(3) {
		job := &jobs.Job{ID: fmt.Sprint("j", i), State: jobs.Queued, Host: "a"}
		v.Add(&bus.Birth{Job: *job}, 2*i+1)
		job.State = jobs.Canceled
		v.Moved(&bus.JobMessage{Job: *job, Seq: 2*i + 2})
		ends = append(ends, job)
	}
	day := time.Unix(1_800_000_000, 0).UTC()
	for i, job := range ends {
		seq, hours := uint64(2*i+2), time.Duration(3-i) // the clock of the bus is set back between two
		v.take(&bus.JobMessage{Job: *job, Seq: seq, Stored: day.Add(hours * time.Hour)})
		v.happened(v.jobs[job.ID], seq, job, 1)
		if list, _, _ := v.Ended(1); i == 0 && (len(list) != 1 || list[0].Next.IsZero()) {
			t.Errorf("before the others come, %+v has ended", list)
		}
	}
	list, _, _ := v.Ended(1)
	if len(list) != 1 || !list[0].At.Equal(day.Add(3*time.Hour)) || !list[0].Next.Equal(day.Add(time.Hour)) {
		t.Errorf("the first ended at %s, and the earliest behind it at %s", list[0].At, list[0].Next)
	}
}

// The time of the bus stays, where it is known before this API takes in what it has published itself.
func TestTheTimeOfTheBusStays(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	job := jobs.Job{ID: "j1", State: jobs.Queued, Host: "a"}
	v.Add(&bus.Birth{Job: job}, 1)
	job.State = jobs.Canceled
	stored := time.Unix(1_800_000_000, 0).UTC()
	v.take(&bus.JobMessage{Job: job, Seq: 2, Stored: stored})
	v.happened(v.jobs["j1"], 2, &job, 1)
	v.Moved(&bus.JobMessage{Job: job, Seq: 2})
	if list, _, _ := v.Ended(1); len(list) != 1 || !list[0].At.Equal(stored) {
		t.Errorf("%+v ended, want at %s", list, stored)
	}
}

// A page may end with a job whose id is born again before the next one is asked for.
func TestAPageBehindAJobThatIsBornAgain(t *testing.T) {
	t.Parallel()
	v := many(t, 6)
	_, next, _ := v.Page(Filter{}, 3, "")
	v.take(&bus.JobMessage{Job: jobs.Job{ID: "j3", Host: "a", State: jobs.Queued, CreatedAt: time.Unix(1, 0)}, Seq: 50, Birth: true})
	if diff := cmp.Diff([]string{"j2", "j1", "j0"}, idsBehind(v, next)); diff != "" {
		t.Error(diff)
	}
}

// A page may end with a job that is let go before the next one is asked for.
func TestAPageBehindAJobThatIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	for n := range 5 {
		b.ends(v, fmt.Sprintf("j%d", n), "one\n")
	}
	page, next, err := v.Page(Filter{}, 2, "")
	if err != nil || len(page) != 2 || page[1].ID != "j3" {
		t.Fatalf("%v %v", page, err)
	}
	b.forget(v, "j3")
	b.forget(v, "j2")
	for _, cursor := range []string{next, page[1].Cursor()} {
		rest, end, err := v.Page(Filter{}, 10, cursor)
		if err != nil || len(rest) != 2 || rest[0].ID != "j1" || rest[1].ID != "j0" || end != "" {
			t.Errorf("%v %q %v", rest, end, err)
		}
	}
}

// Another API has let go a job, and its Idempotency-Key has made another one, before this one has heard of either.
func TestAnIDThatIsBornAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, _ := b.run(time.Minute)
	b.ends(v, "j1", "the log of the first\n")
	list, _, _ := v.Ended(1)
	if err := b.bus.LetGo(t.Context(), &list[0].Job, list[0].UpTo); err != nil {
		t.Fatal(err)
	}
	again := *b.rebirth("j1")
	b.eventually("the second is queued", func() bool { return followed(v, "j1") == jobs.Queued })
	v.Forget(&list[0]) // it comes too late
	if got := followed(v, "j1"); got != jobs.Queued {
		t.Errorf("the second is %q", got)
	}
	seq := b.move(&again, jobs.Start, 0)
	b.log(&again, "another log\n", 0)
	b.move(&again, jobs.Succeed, seq)
	b.eventually("the second has ended", func() bool { return followed(v, "j1") == jobs.Success })
	if got := b.text(v, "j1"); got != "another log\n" {
		t.Errorf("its log is %q", got)
	}
	if diff := cmp.Diff([]string{"j1"}, endedNow(v)); diff != "" {
		t.Error(diff)
	}
}

// rebirth is a later job of the id.
func (b *bundle) rebirth(id string) *jobs.Job {
	b.t.Helper()
	job := &jobs.Job{ID: id, Action: jobs.Create, State: jobs.Queued, Host: "a", Workdir: "/x", CreatedAt: time.Unix(1_800_000_900, 0).UTC(), Warnings: []string{}}
	if _, err := b.bus.Submit(b.t.Context(), &bus.Birth{Job: *job}); err != nil {
		b.t.Fatal(err)
	}
	return job
}

// The order of the ends is that of the stream, whatever the clock of the bus was when it stored them.
func TestEndsAreInTheOrderOfTheStream(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	day := time.Unix(1_800_000_000, 0).UTC()
	for i, at := range []time.Duration{0, 24 * time.Hour, 25 * time.Hour, time.Minute, time.Hour} {
		if i == 2 {
			if list, _, _ := v.Ended(1); !list[0].Next.Equal(day.Add(24 * time.Hour)) {
				t.Errorf("behind the first the earliest ended at %s", list[0].Next)
			}
		}
		job, seq := jobs.Job{ID: fmt.Sprintf("j%d", i), State: jobs.Success, Host: "a"}, uint64(i+1)
		v.take(&bus.JobMessage{Job: job, Seq: seq, Stored: day.Add(at)})
		v.happened(v.jobs[job.ID], seq, &job, 1)
	}
	list, _, _ := v.Ended(100)
	for i, next := range []time.Duration{time.Minute, time.Minute, time.Minute, time.Hour} {
		if list[i].Job.ID != fmt.Sprintf("j%d", i) || !list[i].Next.Equal(day.Add(next)) {
			t.Errorf("%d is %s, of those behind the earliest ended at %s", i, list[i].Job.ID, list[i].Next)
		}
	}
	if last := list[4]; last.Job.ID != "j4" || !last.Next.IsZero() {
		t.Errorf("the last is %s, behind it is one that ended at %s", last.Job.ID, last.Next)
	}
}

// A job is let go while this API is not there, and its Idempotency-Key makes another one: the file of the first is not its log.
func TestTheLogOfAJobBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	v, stop := b.run(time.Minute)
	old := map[string]string{"ends": "a line of both\nold\nand so on\n", "runs": "a line of both\nold\n", "same": "a line of both\n", "short": "a line of both\nold\n"}
	for id, text := range old {
		b.ends(v, id, text)
	}
	list, _, _ := v.Ended(len(old))
	stop()
	for i := range list {
		if err := b.bus.LetGo(t.Context(), &list[i].Job, list[i].UpTo); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"ends": "a line of both\nnew\n", "runs": "a line of both\nnew and longer\n", "same": "a line of both\nand more\n", "short": "a line of both\n"}
	for id, text := range want {
		again := b.rebirth(id)
		seq, chunk := b.move(again, jobs.Start, 0), uint64(0)
		for line := range strings.Lines(text) {
			chunk = b.log(again, line, chunk)
		}
		if id != "runs" {
			b.move(again, jobs.Succeed, seq)
		}
	}
	v, _ = b.run(time.Minute)
	for id, text := range want {
		if got := b.text(v, id); got != text {
			t.Errorf("%s: %q", id, got)
		}
	}
}

// The clock of the API that takes the later job of an id may be behind.
func TestALaterJobOfAnEarlierTime(t *testing.T) {
	t.Parallel()
	v := many(t, 0)
	job := jobs.Job{ID: "j1", State: jobs.Queued, Host: "a", CreatedAt: time.Unix(1_800_000_000, 0)}
	v.Add(&bus.Birth{Job: job}, 1)
	job.State = jobs.Failed
	v.Moved(&bus.JobMessage{Job: job, Seq: 2})
	v.Add(&bus.Birth{Job: job}, 1) // it comes again
	if got := followed(v, "j1"); got != jobs.Failed {
		t.Errorf("the first is %s", got)
	}
	job.State, job.CreatedAt = jobs.Queued, job.CreatedAt.Add(-time.Minute)
	v.Add(&bus.Birth{Job: job}, 5)
	if got := followed(v, "j1"); got != jobs.Queued {
		t.Errorf("the later one is %s", got)
	}
}
