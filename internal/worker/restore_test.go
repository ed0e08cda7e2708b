package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// A bus that has lost its store is told of the jobs of the host: of one that has ended, one that runs, and one that waits.
func TestABusThatHasLostItsStore(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Slots = 1 })
	b.run()
	b.submit("ended", nil)
	b.next().result <- exec.Result{}
	b.await("ended", ended)
	b.submit("runs", nil)
	run := b.next()
	run.phases <- "deploy"
	b.await("runs", func(m *bus.JobMessage) bool { return m.Phase == "deploy" })
	must(t, say(filepath.Join(b.worker.journal.dir, "runs", outputFile), "a line before the loss"))
	b.submit("waits", nil)
	b.eventually("it is in the journal", func() bool { return b.worker.journal.has("waits") })

	bustest.Lose(t, b.server)
	// As an API does.
	must(t, b.bus.MendStreams(t.Context()))
	must(t, b.bus.EnsureConsumer(t.Context(), "a"))
	for id, state := range map[string]jobs.State{"ended": jobs.Success, "runs": jobs.Running} {
		got := b.await(id, func(m *bus.JobMessage) bool { return m.State == state })
		if got.Source != b.worker.source || id == "runs" && got.Phase != "deploy" {
			t.Errorf("%s is %+v", id, got)
		}
	}
	b.eventually("the requests are there again", func() bool {
		for _, id := range []string{"ended", "runs", "waits"} {
			if _, _, err := b.bus.Birth(t.Context(), "a", id); err != nil {
				return false
			}
		}
		return true
	})
	run.result <- exec.Result{}
	b.await("runs", ended)
	b.next().result <- exec.Result{}
	b.await("waits", ended)
	b.eventually("new requests are taken", func() bool {
		taken, err := b.bus.Taken(t.Context(), "a")
		return err == nil && taken > 0
	})
	b.submit("new", nil)
	b.next().result <- exec.Result{}
	b.await("new", ended)
	if n := b.starts.Load(); n != 4 {
		t.Errorf("%d runs, want 4", n)
	}
	var log strings.Builder
	must(t, b.bus.ReadLog(t.Context(), "a", "runs", func(c *bus.Chunk) error {
		if c.Offset != int64(log.Len()) {
			t.Errorf("chunk at %d, want %d", c.Offset, log.Len())
		}
		log.Write(c.Text)
		return nil
	}))
	if got := b.await("runs", ended); !strings.HasSuffix(log.String(), "a line before the loss\n") || got.LogBytes != int64(log.Len()) {
		t.Errorf("logBytes %d of a log of %d: %s", got.LogBytes, log.Len(), log.String())
	}
	b.wantEmptyJournal()
}

// A state that comes before the loss is noticed is the first that the bus hears of its job.
func TestAStateAfterALossThatNobodyHasNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &reporter{bus: b.bus, source: "/test", job: b.birth("j1", jobs.Create).Job}
	_, err := r.claim(t.Context(), false)
	must(t, err, r.move(t.Context(), jobs.Progress, nil))
	bustest.Lose(t, b.server)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, b.bus.MendStreams(ctx), r.move(ctx, jobs.Progress, func(j *jobs.Job) { j.Phase = "deploy" }))
	if got, err := b.bus.LastStatus(ctx, "a", "j1"); err != nil || got.Phase != "deploy" {
		t.Errorf("%+v, %v", got, err)
	}
}

// The runs end before this worker has noticed that the bus has lost its store: their logs and births are there before their ends.
func TestARunEndsAfterALossThatNobodyHasNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	ids := []string{"forgotten", "told", "phase", "removed"}
	runs, logs := map[string]*played{}, map[string]string{}
	for _, id := range ids {
		b.submit(id, nil)
		runs[id] = b.next()
		must(t, say(filepath.Join(b.worker.journal.dir, id, outputFile), "a line before the loss"))
		b.eventually("the log is on the bus", func() bool {
			logs[id] = b.log(id)
			return strings.HasSuffix(logs[id], "a line before the loss\n")
		})
	}
	told, err := b.bus.LastStatus(t.Context(), "a", "told")
	must(t, err)

	bustest.Lose(t, b.server)
	// As an API does, which leaves the logs of jobs under way to their worker.
	must(t, b.bus.MendStreams(t.Context()))
	must(t, b.bus.Restore(t.Context(), &bus.Known{Job: told.Job, Source: told.Source}))
	must(t, os.RemoveAll(filepath.Join(b.worker.journal.dir, "removed"))) // from the journal, too: the APIs' files have its log
	runs["phase"].phases <- "deploy"
	for _, id := range []string{"forgotten", "told", "removed"} {
		runs[id].result <- exec.Result{}
	}
	b.await("phase", func(m *bus.JobMessage) bool { return m.Phase == "deploy" })
	runs["phase"].result <- exec.Result{}
	for _, id := range ids {
		got := b.await(id, ended)
		if log := b.log(id); log != logs[id] && id != "removed" || got.LogBytes != int64(len(logs[id])) {
			t.Errorf("%s has ended with %d bytes of log, and the bus has %q of %q", id, got.LogBytes, log, logs[id])
		}
		if _, _, err := b.bus.Birth(t.Context(), "a", id); err != nil {
			t.Errorf("the birth of %s: %v", id, err)
		}
	}
}

// A loss that is noticed when the log of a run is published to its end is made good before the end is told.
func TestALossThatIsNoticedAtTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Create)
	r := &run{
		reporter: reporter{bus: b.bus, source: "/test", job: birth.Job},
		spool:    newSpool(b.bus, "a", "j1", filepath.Join(t.TempDir(), outputFile), nil, 0),
	}
	_, err := r.reporter.claim(t.Context(), false)
	must(t, err, r.confirm(t.Context()))
	if err := r.reporter.move(t.Context(), jobs.Succeed, nil); !errors.Is(err, errAgain) {
		t.Errorf("%v, want errAgain", err)
	}
	must(t, r.reporter.move(t.Context(), jobs.Succeed, nil))
}

// A worker that starts before a bus that has lost everything makes known what its journal has.
func TestAWorkerStartsBeforeABusThatHasLostItsStore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Create)
	if _, _, err := b.worker.journal.add(birth, 7, false); err != nil {
		t.Fatal(err)
	}
	b.worker.journal.known = map[string]*entry{} // as in a worker that starts
	b.run()
	b.next().result <- exec.Result{}
	b.await("j1", ended)
	b.eventually("the request is there", func() bool {
		_, _, err := b.bus.Birth(t.Context(), "a", "j1")
		return err == nil
	})
}

// The newest messages of the bus are lost: a job that has ended is not run again.
func TestARequestOfAnEndedJobOfWhichTheBusHasLostTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	last := b.birth("j1", jobs.Create).Job
	last.State, last.Reason = jobs.Failed, jobs.ReasonTimeout
	must(t, b.worker.ended.add(&endedJob{Job: last}))
	b.submit("j1", nil)
	b.run()
	if got := b.await("j1", ended); got.State != jobs.Failed || got.Reason != jobs.ReasonTimeout {
		t.Errorf("%s, %s", got.State, got.Reason)
	}
	b.submit("j2", nil)
	b.next().result <- exec.Result{}
	b.await("j2", ended)
	if n := b.starts.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
}

func TestEndedJobsAreLetGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	e, err := openEndedJobs(dir, log)
	must(t, err)
	now := time.Now()
	for id, age := range map[string]time.Duration{"oldest": 2 * endedAge, "older": endedAge + time.Hour, "old": endedAge, "new": time.Hour, "tomorrow": -24 * time.Hour} {
		must(t, os.WriteFile(e.file(id), nil, 0o600), os.Chtimes(e.file(id), now.Add(-age), now.Add(-age)))
	}
	torn := filepath.Join(dir, ".today.json-123")
	must(t, os.WriteFile(torn, []byte("{"), 0o600))
	if e, err = openEndedJobs(dir, log); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(torn); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was not written to its end: %v", err)
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, e.ids()); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	expect("few are kept at any age", "oldest", "older", "old", "new", "tomorrow")
	e.least, e.most = 3, 5
	e.trim(now)
	expect("of more those of an age go", "old", "new", "tomorrow")
	// The clock was set back by a day.
	for _, id := range []string{"then", "latest"} {
		must(t, e.add(&endedJob{Job: jobs.Job{ID: id}}))
	}
	expect("what comes last is the newest", "old", "new", "tomorrow", "then", "latest")
	e.most = 4
	e.trim(now.AddDate(-10, 0, 0))
	expect("in a year before the oldest go that are too many", "new", "tomorrow", "then", "latest")
	e.trim(now.AddDate(10, 0, 0))
	expect("in a year to come some stay", "tomorrow", "then", "latest")
}

// A store of yesterday is put back while everything is stopped: the worker makes known how its jobs have ended since.
func TestAnOlderStoreThatIsPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"yesterday", "today"} {
		last := b.birth(id, jobs.Create).Job
		finished := last.CreatedAt.Add(time.Minute)
		last.State, last.FinishedAt = jobs.Success, &finished
		must(t, b.worker.ended.add(&endedJob{Job: last}))
	}
	// Of one the bus has the birth.
	b.send(b.birth("yesterday", jobs.Create))
	b.run()
	for _, id := range []string{"yesterday", "today"} {
		got := b.await(id, ended)
		if got.State != jobs.Success {
			t.Errorf("%s is %s", id, got.State)
		}
		b.eventually("it is known when the bus has stored it", func() bool {
			e, err := b.worker.ended.get(id)
			return err == nil && e.Stored.Equal(got.Stored)
		})
	}
	b.eventually("the births are there too", func() bool {
		_, _, err := b.bus.Birth(t.Context(), "a", "today")
		return err == nil
	})
	if n := b.starts.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// A worker is killed when the bus has the end of its job and the host has not noted it: the next one notes what the bus has, which an older
// store that is put back then does not know any more.
func TestAnEndThatWasNotNoted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	b.taken(birth)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	b.running("j1", b.worker.source, "")
	b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", map[string]string{"result.json": `{"exitCode":0}`})
	last, err := b.bus.LastStatus(t.Context(), "a", "j1")
	must(t, err, last.Move(jobs.Succeed, time.Now()))
	if _, err = bustest.Connect(t, b.server, b.worker.source).PublishStatus(t.Context(), &last.Job, last.Seq); err != nil {
		t.Fatal(err)
	}
	want := b.await("j1", ended)
	must(t, b.restart())
	b.run()
	b.wantEmptyJournal()
	if got, err := b.worker.ended.get("j1"); err != nil || got == nil || !got.Stored.Equal(want.Stored) || got.State != jobs.Success || got.FinishedAt == nil {
		t.Fatalf("noted: %+v, %v", got, err)
	}

	bustest.Lose(t, b.server)
	must(t, b.bus.MendStreams(t.Context()))
	request, err := json.Marshal(birth)
	must(t, err)
	bustest.Publish(t, b.server, "netlab.in.a.j1.request", request) // which the older store has
	must(t, b.bus.EnsureConsumer(t.Context(), "a"))
	if got := b.await("j1", ended); got.State != jobs.Success || !got.FinishedAt.Equal(*want.FinishedAt) {
		t.Errorf("%s at %s", got.State, got.FinishedAt)
	}
	b.submit("j2", nil)
	b.begins("j2")
	if n := b.starts.Load(); n != 1 {
		t.Errorf("%d runs, want the one of j2", n)
	}
}

// Where the disk does not take how a job has ended, the journal keeps the job until it does: its directory is free meanwhile, a bus that
// loses its store is told of the end all the same, and a later job of its id waits.
func TestAnEndThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		dir := filepath.Join(c.DataDir, "ended")
		must(t, os.Mkdir(dir, 0o700))
		smallDisk(t, dir)
	})
	b.run()
	b.submit("j1", nil)
	b.behind("j2", "j1")
	empty := fillDisk(t, b.worker.ended.dir)
	b.begins("j1")
	b.begins("j2")
	b.eventually("both are over", func() bool {
		for _, id := range []string{"j1", "j2"} {
			if job, _ := b.worker.ended.unwritten(id); job == nil {
				return false
			}
		}
		return true
	})
	if entries, _, err := b.worker.journal.load(b.worker.log); err != nil || len(entries) != 2 {
		t.Errorf("the journal has %d jobs, %v", len(entries), err)
	}
	again := b.birth("j1", jobs.Create)
	must(t, b.worker.take(t.Context(), again, 77))
	again.CreatedAt = again.CreatedAt.Add(time.Hour)
	if err := b.worker.take(t.Context(), again, 78); err == nil {
		t.Error("a later job of the id was taken, and forgotten with the first")
	} else {
		wantWords(t, b.worker.announcement().Error, "a request cannot be taken: how the job before it of its id has ended is not noted yet: ", ": make room on the disk of")
	}
	bustest.Lose(t, b.server)
	must(t, b.bus.MendStreams(t.Context()), b.bus.EnsureConsumer(t.Context(), "a"))
	for _, id := range []string{"j1", "j2"} {
		end := b.await(id, ended)
		b.eventually("its birth is there, behind the end: it is no job to run or to cancel", func() bool {
			_, born, err := b.bus.Birth(t.Context(), "a", id)
			return err == nil && born > end.Seq
		})
	}
	empty()
	b.wantEmptyJournal()
	for _, id := range []string{"j1", "j2"} {
		got, err := b.worker.ended.get(id)
		if file, statErr := os.Stat(b.worker.ended.file(id)); err != nil || got == nil || got.State != jobs.Success || statErr != nil || file.Size() == 0 {
			t.Errorf("%s: %+v, %v, %v", id, got, err, statErr)
		}
	}
	if n := b.starts.Load(); n != 2 {
		t.Errorf("%d runs", n)
	}
}

// An API that knows how the job has ended, from before a loss, publishes that again before the worker does.
func TestAnEndThatIsThereAlready(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &reporter{bus: b.bus, source: "/test", job: b.birth("j1", jobs.Create).Job}
	_, err := r.claim(t.Context(), false)
	must(t, err)
	before := &reporter{bus: b.bus, source: "/test", job: r.job, seq: r.seq}
	must(t, before.move(t.Context(), jobs.Succeed, nil))
	if err := r.move(t.Context(), jobs.Fail, nil); !errors.Is(err, errOver) || errors.Is(err, errLost) {
		t.Errorf("%v, want errOver", err)
	}
	if last := b.await("j1", ended); r.job.State != jobs.Success || !r.stored.Equal(last.Stored) {
		t.Errorf("%s, stored at %s and not %s", r.job.State, r.stored, last.Stored)
	}
}

// The output of the job itself may be what has filled the disk: it makes room for how the job has ended, since the bus has all of it.
func TestAnEndOnADiskThatItsOutputHasFilled(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { smallDisk(t, c.DataDir) })
	b.run()
	b.submit("j1", nil)
	run := b.next()
	b.eventually("the disk is full", func() bool {
		return errors.Is(appendTo(run.run.Output, strings.Repeat("0123456\n", 512)), syscall.ENOSPC)
	})
	run.result <- exec.Result{}
	b.await("j1", ended)
	b.wantEmptyJournal()
	if got, err := b.worker.ended.get("j1"); err != nil || got == nil {
		t.Errorf("noted: %+v, %v", got, err)
	}
}

// A job that the bus has let go since it ended is not made known again by a worker that starts.
func TestAJobThatWasLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gone := b.birth("gone", jobs.Create).Job
	gone.State = jobs.Success
	must(t, b.worker.ended.add(&endedJob{Job: gone}), b.bus.MoveHorizon(t.Context(), gone.CreatedAt))
	b.submit("j1", nil)
	b.run()
	b.next().result <- exec.Result{}
	b.await("j1", ended)
	if _, err := b.bus.LastStatus(t.Context(), "a", "gone"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("it is there again: %v", err)
	}
}

// A job was canceled while its host was away, and was let go since: its worker has it in the journal, and nobody has it on the bus.
func TestAJobThatWasLetGoIsNotRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Create)
	if _, _, err := b.worker.journal.add(birth, 7, false); err != nil {
		t.Fatal(err)
	}
	b.worker.journal.known = map[string]*entry{} // as in a worker that starts
	must(t, b.bus.MoveHorizon(t.Context(), birth.CreatedAt.Add(time.Hour)))
	b.worker.bus = b.bus
	if err := b.worker.ensureBorn(t.Context(), &entry{Birth: birth}); !errors.Is(err, errLost) {
		t.Error(err)
	}
	old := filepath.Join(b.config.DataDir, "driver", "0123456789abcdef")
	must(t, os.MkdirAll(old, 0o755))
	b.run()
	b.wantEmptyJournal()
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a driver that may run: %v", err)
	}
	b.submit("j2", nil)
	b.next().result <- exec.Result{}
	b.await("j2", ended)
	if n := b.starts.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
	if _, _, err := b.bus.Birth(t.Context(), "a", "j1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the request: %v", err)
	}
}

// What the worker remembers of a job that was let go is not told to the bus again, and not taken for the end of a later one with
// the same Idempotency-Key. The clock of the host does not matter.
func TestTheEndOfAJobThatWasLetGoIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.submit("first", nil)
	b.run()
	b.next().result <- exec.Result{}
	first := b.await("first", ended)
	b.eventually("it is remembered, by the clock of the bus", func() bool {
		e, err := b.worker.ended.get("first")
		return err == nil && e != nil && e.Stored.Equal(first.Stored)
	})
	must(t, b.bus.MoveHorizon(t.Context(), first.Stored))
	for id, stored := range map[string]time.Time{"gone": first.Stored, "again": first.Stored, "lost": first.Stored.Add(time.Second)} {
		last := b.birth(id, jobs.Create).Job
		last.CreatedAt = last.CreatedAt.Add(-time.Hour) // and yet later than the horizon
		last.State, last.FinishedAt = jobs.Failed, &last.CreatedAt
		must(t, b.worker.ended.add(&endedJob{Job: last, Stored: stored}))
	}
	b.submit("again", nil)
	b.next().result <- exec.Result{}
	if got := b.await("again", ended); got.State != jobs.Success {
		t.Errorf("the later one is %s", got.State)
	}
	b.worker.offerEnds(t.Context())
	if _, err := b.bus.FindJob(t.Context(), "gone"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the one that is gone: %v", err)
	}
	b.await("lost", ended)
}

// What the worker remembers goes into its folder also where somebody has removed that.
func TestFoldersThatWereRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	e, err := openEndedJobs(filepath.Join(dir, "ended"), log)
	must(t, err)
	k, err := openKnownLabs(filepath.Join(dir, "labs"), log)
	must(t, err)
	for _, id := range []string{"j1", "j2"} {
		must(t, os.RemoveAll(e.dir), os.RemoveAll(k.dir))
		must(t, e.add(&endedJob{Job: jobs.Job{ID: id, State: jobs.Success}}), k.remember(knownLab{Dir: "/lab", Job: id}))
		if job, err := e.get(id); err != nil || job == nil {
			t.Errorf("%s: %v, %v", id, job, err)
		}
	}
}
