package worker

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// running has the job on the bus as one that a worker with this source runs.
func (b *testBundle) running(id, source, phase string) {
	b.t.Helper()
	job := b.birth(id, jobs.Up).Job
	must(b.t, job.Move(jobs.Start, time.Now()))
	job.Phase = phase
	if _, err := bustest.Connect(b.t, b.server, source).PublishStatus(b.t.Context(), &job, 0); err != nil {
		b.t.Fatal(err)
	}
}

// next in line, once it has come: a job of another's directory.
func (b *testBundle) behind(id, other string) {
	b.t.Helper()
	birth := b.birth(id, jobs.Up)
	birth.Workdir = filepath.Join(b.root, other)
	b.send(birth)
	b.eventually("it is in the journal", func() bool { return b.worker.journal.has(id) })
}

// begins ends the next run, which has to be this job's.
func (b *testBundle) begins(id string) {
	b.t.Helper()
	run := b.next()
	if run.run.Job != id {
		b.t.Errorf("%s runs, want %s", run.run.Job, id)
	}
	run.result <- exec.Result{}
	if got := b.await(id, ended); got.State != jobs.Success {
		b.t.Errorf("%s: %+v", id, got)
	}
}

// notYet fails where something has begun.
func (b *testBundle) notYet() {
	b.t.Helper()
	if n := b.starts.Load(); n != 0 {
		b.t.Fatalf("%d runs, while another one goes on", n)
	}
}

// A run of which files are gone, while a worker was away, is not begun again beside itself, nor does another job begin.
func TestARunOfWhichFilesAreGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		gone  string
		trace string // what the driver writes when its worker is back
	}{
		"all":            {gone: "run-1"},
		"all-but-folder": {gone: "run-1/*", trace: "result.json"},
		"fence":          {gone: "run-1/driver.json", trace: "progress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := "gone-" + name // stopped by it, wherever on the machine
			birth := b.birth(id, jobs.Up)
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			b.running(id, b.worker.source, "")
			dir := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", nil).dir
			gone, err := filepath.Glob(filepath.Join(filepath.Dir(dir), test.gone))
			must(t, err)
			for _, path := range gone {
				must(t, os.RemoveAll(path))
			}
			process := lives(t, id)
			b.run()
			b.behind("behind-"+name, id)
			b.eventually("it is looked at", func() bool {
				_, err := os.Stat(filepath.Join(dir, "driver.json"))
				return err == nil || b.log(id) != "" || b.starts.Load() > 0
			})
			if test.trace != "" {
				must(t, os.WriteFile(filepath.Join(dir, test.trace), []byte(`{"exitCode":0}`), 0o600))
			}
			b.notYet()
			must(t, process.Process.Kill())
			wantEnd(t, b.await(id, ended), jobs.Failed, jobs.ReasonInterrupted)
			b.begins("behind-" + name)
			b.wantEmptyJournal()
		})
	}
}

// Of a run that has ended, and of which nothing is left, the bus knows that it had begun.
func TestARunOfWhichNothingIsLeft(t *testing.T) {
	t.Parallel()
	for id, gone := range map[string]string{"nothing": "", "folder": "driver.json"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth(id, jobs.Up)
			b.running(id, b.worker.source, "netlab up")
			dir := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", nil).dir
			must(t, os.RemoveAll(filepath.Join(dir, gone)))
			b.run()
			wantEnd(t, b.await(id, ended), jobs.Failed, jobs.ReasonInterrupted, "; no lab in "+birth.Workdir+": ")
			b.behind("behind", id)
			b.begins("behind")
		})
	}
}

// A worker whose journal is lost finds the runs by their processes, also while no API says which jobs are under way.
func TestALostRunIsFoundByItsProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const id, unclaimed, over = "found", "found-unclaimed", "found-over"
	for _, job := range []string{id, unclaimed, over} {
		b.taken(b.birth(job, jobs.Up))
	}
	b.running(id, "/hosts/a/workers/another", "")
	b.running(over, "/hosts/a/workers/another", "")
	last, err := b.bus.LastStatus(t.Context(), "a", over)
	must(t, err, last.Move(jobs.Succeed, time.Now()))
	if _, err := b.bus.PublishStatus(t.Context(), &last.Job, last.Seq); err != nil {
		t.Fatal(err)
	}
	others := b.birth("found-elsewhere", jobs.Up)
	others.Host = "b"
	b.send(others)
	lives(t, others.ID)
	lives(t, over) // what the lab keeps
	process, second := lives(t, id), lives(t, unclaimed)
	old := filepath.Join(b.config.DataDir, "driver", "0123456789abcdef")
	must(t, os.MkdirAll(old, 0o755))
	b.run()
	b.behind("behind", id)
	b.eventually("it is taken for lost", func() bool { return b.log(id) != "" || b.starts.Load() > 0 })
	b.notYet()
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a driver that may run: %v", err)
	}
	must(t, process.Process.Kill(), second.Process.Kill())
	for _, job := range []string{id, unclaimed} {
		wantEnd(t, b.await(job, ended), jobs.Failed, jobs.ReasonInterrupted, "the record of the run was lost")
	}
	b.begins("behind")
	b.behind("new", over)
	b.begins("new")
	if b.worker.journal.has(others.ID) || b.worker.journal.has(over) {
		t.Error("the job of another host, or one that has ended, was taken")
	}
	b.wantEmptyJournal()
}

// A job that has ended here is no lost one though the bus has lost its end and its lab keeps processes: they would be stopped in its name.
func TestAnEndedJobThatLeftProcessesIsNotAdopted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const id = "ended-here"
	b.worker.bus = b.bus
	b.taken(b.birth(id, jobs.Up))
	b.running(id, b.worker.source, "netlab up")
	lives(t, id)
	here := b.birth(id, jobs.Up).Job
	here.State = jobs.Success
	must(t, b.worker.ended.add(&endedJob{Job: here}))
	if isLost, err := b.worker.adopt(t.Context(), t.Context(), id, math.MaxUint64); isLost || err != nil || b.worker.journal.has(id) {
		t.Errorf("it is adopted: %t, %v", isLost, err)
	}
	if got := b.await(id, ended); got.State != jobs.Success {
		t.Errorf("it has ended as %s", got.State)
	}
}

// Where no API has made the host's consumer yet, a worker does not wait for it because of processes that are another's.
func TestProcessesOfOthersBeforeThereIsAConsumer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	b.worker.config.Host = "new"
	lives(t, "others-job")
	b.worker.adoptPatience = limit
	ctx, cancel := context.WithTimeout(t.Context(), limit/2)
	defer cancel()
	var beside sync.WaitGroup
	b.worker.findLost(ctx, nil, &beside)
	beside.Wait()
	if ctx.Err() != nil {
		t.Error("it waits")
	}
}

// A job that is born again, and was not taken yet, is no lost one though an earlier one of its id, which was let go, has left processes.
func TestABirthBesideProcessesOfItsID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.send(b.birth("again", jobs.Up))
	lives(t, "again") // what the lab keeps
	b.run()
	b.next().result <- exec.Result{}
	wantEnd(t, b.await("again", ended), jobs.Success, "")
}

// A stream of jobs that says nothing keeps no worker from coming online. What it says of a damaged entry is heard when it is back.
func TestADamagedEntryOfWhichTheBusSaysNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.adoptPatience = time.Millisecond
	b.taken(b.birth("torn", jobs.Up))
	must(t, os.Mkdir(filepath.Join(b.worker.journal.dir, "torn"), 0o700))
	must(t, os.WriteFile(filepath.Join(b.worker.journal.dir, "torn", requestFile), []byte("{"), 0o600))
	bustest.SilenceJobs(t, b.server)
	b.run()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, err := b.bus.Ask(ctx, "a", "labs", struct{}{}); err != nil; _, err = b.bus.Ask(ctx, "a", "labs", struct{}{}) {
		must(t, ctx.Err())
	}
	must(t, b.bus.EnsureStreams(t.Context(), bustest.Limits()))
	b.begins("torn")
}

// A run whose job's request is gone ends as it did. What is left of a job that has ended goes.
func TestARequestThatIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"under-way", "over"} {
		birth := b.birth(id, jobs.Up)
		must(t, os.MkdirAll(birth.Workdir, 0o755))
		b.taken(birth)
		b.running(id, b.worker.source, "netlab up")
		run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", map[string]string{"result.json": `{"exitCode":0}`})
		must(t, os.Remove(filepath.Join(filepath.Dir(run.dir), requestFile)))
	}
	last, err := b.bus.LastStatus(t.Context(), "a", "over")
	must(t, err, last.Move(jobs.Fail, time.Now()))
	if _, err := b.bus.PublishStatus(t.Context(), &last.Job, last.Seq); err != nil {
		t.Fatal(err)
	}
	must(t, b.restart())
	b.run()
	wantEnd(t, b.await("under-way", ended), jobs.Success, "")
	b.wantEmptyJournal()
	if n := b.starts.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// What is not the worker's in the folder of its journal is left alone, and keeps nobody from working.
func TestStrayFilesInTheJournal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stray := []string{".nfs001", "lost+found/file"}
	for _, name := range stray {
		path := filepath.Join(b.worker.journal.dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600))
	}
	b.run()
	b.submit("j1", nil)
	b.begins("j1")
	for _, name := range stray {
		if _, err := os.Stat(filepath.Join(b.worker.journal.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// Somebody removes the journal below a worker: what runs ends as it does, what waits runs, and what comes is taken.
func TestTheJournalIsRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("runs", nil)
	run := b.next()
	b.behind("waits", "runs")
	must(t, os.RemoveAll(b.worker.journal.dir))
	for _, r := range b.worker.live.all() {
		r.spool.again() // as when the bus has lost something
	}
	b.eventually("the log has begun again", func() bool {
		_, err := os.Stat(filepath.Join(b.worker.journal.dir, "runs"))
		return err == nil
	})
	run.result <- exec.Result{}
	if got := b.await("runs", ended); got.State != jobs.Success {
		t.Errorf("%+v", got)
	}
	b.begins("waits")
	b.submit("new", nil)
	b.begins("new")
	b.wantEmptyJournal()
	b.eventually("they are forgotten", func() bool { return len(b.worker.journal.list()) == 0 })
}

// A run is not begun again whose journey is, though the journal was removed meanwhile.
func TestTheJournalOfABegunRunIsRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	b.worker.hold(time.Now().Add(time.Hour))
	e, _, err := b.worker.journal.add(b.birth("begun-here", jobs.Up), 1, false)
	must(t, err)
	_, err = e.nextRun()
	must(t, err, os.RemoveAll(e.dir))
	r := newRun(b.worker, &task{entry: e, key: e.Birth.Workdir}, b.config.Log)
	must(t, r.journey(t.Context()))
	b.notYet()
	wantEnd(t, b.await("begun-here", ended), jobs.Failed, jobs.ReasonInterrupted)
}

// A job that somebody else has moved while its run goes on has its directory until that ends.
func TestALostClaimOfARunThatGoesOn(t *testing.T) {
	t.Parallel()
	var log logged
	b := setup(t, log.into)
	const id = "moved"
	birth := b.birth(id, jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	b.running(id, "/hosts/b/workers/another", "")
	b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", nil)
	process := lives(t, id)
	b.run()
	b.behind("behind", id)
	b.eventually("it is given up", func() bool { return log.has("its run goes on") || b.starts.Load() > 0 })
	b.notYet()
	must(t, process.Process.Kill())
	b.begins("behind")
	b.wantEmptyJournal()
	if got, err := b.bus.LastStatus(t.Context(), "a", id); err != nil || got.State != jobs.Running {
		t.Errorf("the other's job: %+v, %v", got, err)
	}
}

// What a job that has ended has left running keeps nobody from its directory.
func TestAnEndedJobWhoseLabLives(t *testing.T) {
	t.Parallel()
	for id, files := range map[string]map[string]string{"over-with-result": {"result.json": `{"exitCode":0}`}, "over-without": nil} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth(id, jobs.Up)
			source := b.worker.source
			if files != nil {
				source = "/api"
			}
			last := birth.Job
			must(t, last.Move(jobs.Start, time.Now()), last.Move(jobs.Succeed, time.Now()))
			if _, err := bustest.Connect(t, b.server, source).PublishStatus(t.Context(), &last, 0); err != nil {
				t.Fatal(err)
			}
			b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", files)
			lives(t, id)
			b.run()
			b.behind("behind", id)
			b.begins("behind")
			b.wantEmptyJournal()
		})
	}
}

// A data directory of a backup has a run of a job that has ended since, and was let go.
func TestARunOfAJobThatWasLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", nil)
	output := filepath.Join(filepath.Dir(run.dir), outputFile)
	old := birth.CreatedAt.Add(time.Minute)
	must(t, os.WriteFile(output, []byte("so far\n"), 0o600), os.Chtimes(output, old, old))
	must(t, b.bus.MoveHorizon(t.Context(), old.Add(time.Hour)))
	b.run()
	b.wantEmptyJournal()
	if job, err := b.bus.FindJob(t.Context(), "j1"); err == nil {
		t.Errorf("it is there again: %+v", job)
	}
}

// A run that went on behind the horizon was not let go: the bus has lost it.
func TestARunOfWhichTheBusHasLostTheBirth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	birth.CreatedAt = time.Now().Add(-2 * time.Hour)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	run := b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", map[string]string{"result.json": `{"exitCode":0}`})
	must(t, os.WriteFile(filepath.Join(filepath.Dir(run.dir), outputFile), []byte("so far\n"), 0o600))
	must(t, b.bus.MoveHorizon(t.Context(), time.Now().Add(-time.Hour)))
	b.run()
	wantEnd(t, b.await("j1", ended), jobs.Success, "")
}

// restart has a new worker with the data directory, which the one before has left.
func (b *testBundle) restart() error {
	b.t.Helper()
	b.worker.data.close()
	next, err := New(b.t.Context(), b.config)
	if err == nil {
		b.worker = next
	}
	return err
}

// The jobs of the journal are this worker's also after its identity was removed.
func TestAnIdentityThatWasRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	before := b.worker.source
	b.running("j1", before, "")
	b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir}, "sleep 0.1", map[string]string{"result.json": `{"exitCode":0}`})
	must(t, os.Remove(filepath.Join(b.config.DataDir, "identity")), b.restart())
	if b.worker.source == before {
		t.Fatal("it has the old identity")
	}
	b.run()
	got := b.await("j1", func(m *bus.JobMessage) bool { return m.State.Terminal() || m.Source == b.worker.source })
	wantEnd(t, got, jobs.Success, "")
	b.wantEmptyJournal()
}

// A worker whose journal has jobs keeps its host's name.
func TestTheHostIsRenamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e, _, err := b.worker.journal.add(b.birth("j1", jobs.Up), 1, false)
	must(t, err)
	b.config.Host = "renamed"
	if err := b.restart(); err == nil {
		t.Fatal("it starts under another name")
	} else {
		wantWords(t, err.Error(), "NETLAB_WORKER_HOST is renamed", "jobs of host a", "NETLAB_WORKER_HOST=a", "NETLAB_WORKER_DATA_DIR")
	}
	b.config.Host = "a"
	must(t, b.restart(), e.remove())
	b.config.Host = "renamed"
	must(t, b.restart())
	if _, _, err := b.worker.journal.add(b.birth("j2", jobs.Up), 1, false); err != nil {
		t.Fatal(err)
	}
	b.config.Host = "a"
	if err := b.restart(); err == nil {
		t.Error("the new name was not kept")
	}
}
