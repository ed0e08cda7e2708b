package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// run is the way of one job from its claim to its end.
type run struct {
	w     *Worker
	entry *entry
	// key is the directory that the job has to itself.
	key      string
	log      *slog.Logger
	reporter reporter
	spool    *spool
	secrets  secrets
}

func newRun(w *Worker, t *task, log *slog.Logger) *run {
	return &run{
		w: w, entry: t.entry, key: t.key, log: log,
		reporter: reporter{bus: w.bus, source: w.source, job: t.entry.Birth.Job},
	}
}

// outcome is how a run ended.
type outcome struct {
	event    jobs.Event
	reason   jobs.Reason
	text     string
	exitCode *int
}

func failed(reason jobs.Reason, text string) outcome {
	return outcome{event: jobs.Fail, reason: reason, text: text}
}

func succeeded(exitCode *int) outcome {
	return outcome{event: jobs.Succeed, exitCode: exitCode}
}

// journey takes the job from wherever it stands to its end. An error other than errLost leaves it where it is: the next
// journey goes on from there.
func (r *run) journey(ctx context.Context) error {
	before, err := r.entry.lastRun()
	if err != nil {
		return err
	}
	resumed, err := r.reporter.claim(ctx)
	if err != nil {
		return err
	}
	values, sealErr := r.w.key.Open(r.entry.Birth.Sealed)
	r.secrets = values
	r.spool = newSpool(r.w.bus, r.w.config.Host, r.entry.Birth.ID, r.entry.output(), r.secrets.list())
	ended := make(chan struct{})
	spooled := make(chan error, 1)
	go func() { spooled <- r.spool.keep(ctx, ended, resumed || before != "", r.log) }()

	var end outcome
	if sealErr != nil {
		end = r.refuse(failed(jobs.ReasonInvalid, "environment: "+sealErr.Error()))
	} else {
		end, err = r.netlab(ctx, before)
	}
	close(ended)
	if spoolErr := <-spooled; err == nil {
		err = spoolErr
	}
	if err != nil {
		return err
	}
	return r.reporter.move(ctx, end.event, func(j *jobs.Job) {
		j.LogBytes = r.spool.published.Load()
		j.Reason, j.ExitCode = end.reason, end.exitCode
		if end.event != jobs.Succeed {
			text := r.secrets.mask(end.text)
			j.Error = &text
		}
	})
}

// netlab runs the commands of the action, or finds those that a worker before this one has started in the directory
// before. An error means that the end is not known yet.
func (r *run) netlab(ctx context.Context, before string) (outcome, error) {
	process, began, err := r.attach(before)
	if errors.Is(err, exec.ErrUnreadable) {
		return r.refuse(failed(jobs.ReasonInterrupted, err.Error()+lookAtTheLab)), nil
	}
	if err != nil {
		return outcome{}, err
	}
	if process == nil {
		var end *outcome
		if process, end = r.start(ctx); end != nil {
			return r.refuse(*end), nil
		}
		began = time.Now()
	}
	return r.watch(ctx, process, began)
}

// attach finds the driver that an earlier worker started. nil: there is none, and none can come to life any more.
func (r *run) attach(dir string) (process Process, began time.Time, err error) {
	if dir == "" {
		return nil, began, nil
	}
	attached, err := exec.Attach(dir)
	if errors.Is(err, exec.ErrNotStarted) {
		return nil, began, nil
	}
	if err != nil {
		return nil, began, err
	}
	began = time.Now()
	if info, err := os.Stat(filepath.Join(dir, "plan.json")); err == nil { // written when the driver was started
		began = info.ModTime()
	}
	return attached, began, nil
}

// start prepares the working directory and starts the driver. end is that of a job that needs no driver or cannot have one.
func (r *run) start(ctx context.Context) (process Process, end *outcome) {
	netlab, spec, end := r.specify(ctx)
	if end != nil {
		return nil, end
	}
	var err error
	if spec.Dir, err = r.entry.nextRun(); err != nil {
		return nil, refusal(err)
	}
	if r.w.config.Start != nil {
		process, err = r.w.config.Start(*spec)
	} else {
		process, err = netlab.Start(*spec)
	}
	if err != nil {
		return nil, refusal(fmt.Errorf("starting Netlab: %w", err))
	}
	return process, nil
}

// refusal is the end of a job for an error: the request's fault, or the host's.
func refusal(err error) *outcome {
	reason := jobs.ReasonHostFailed
	var bad *invalidError
	if errors.As(err, &bad) {
		reason = jobs.ReasonInvalid
	}
	end := failed(reason, err.Error())
	return &end
}

// specify makes the working directory ready and says what to run there, and with which Netlab.
func (r *run) specify(ctx context.Context) (*exec.Netlab, *exec.Run, *outcome) {
	job := &r.reporter.job
	place, err := r.w.prepare(job, r.entry.Birth.Topology)
	if err != nil {
		return nil, nil, refusal(err)
	}
	if job.Action.Changes() && !place.absent && place.dir != r.key {
		return nil, nil, refusal(invalid("workdir", "%s led to %s a moment ago and leads to %s now: submit the job again", job.Workdir, r.key, place.dir))
	}
	if place.absent && (job.Action == jobs.Down || job.Action == jobs.Destroy) {
		if err := say(r.entry.output(), "%s: lab not found, there is no directory %s", job.Action, job.Workdir); err != nil {
			return nil, nil, refusal(err)
		}
		end := succeeded(new(int))
		return nil, nil, &end
	}
	netlab, err := r.w.netlab.get(ctx)
	if err != nil {
		return nil, nil, refusal(err)
	}
	commands, err := exec.Plan(job.Request, exec.Lab{Topology: place.topology, Absent: !place.snapshot})
	if err != nil {
		return nil, nil, refusal(err)
	}
	who, err := whoami()
	if err != nil {
		return nil, nil, refusal(err)
	}
	statusFile, err := r.w.statusFile(job.Request.StateRoot)
	if err != nil {
		return nil, nil, refusal(err)
	}
	if job.Action.Changes() {
		if err := say(r.entry.output(), "%s in %s on host %s, Netlab %s", job.Action, place.dir, job.Host, netlab.Version); err != nil {
			return nil, nil, refusal(err)
		}
	}
	return netlab, &exec.Run{
		Output:       r.entry.output(),
		Workdir:      place.dir,
		StatusFile:   statusFile,
		Commands:     commands,
		SnapshotYAML: true,
		Env: netlab.Environment(exec.Surroundings{
			User: who.name, Home: who.home, Workdir: place.dir, Path: r.w.path(),
			Extra: r.secrets.over(job.Request.Environment),
		}),
	}, nil
}

// refuse writes why a job cannot run into its log too.
func (r *run) refuse(end outcome) outcome {
	if end.event == jobs.Succeed {
		return end
	}
	if err := say(r.entry.output(), "%s: %s", end.reason, end.text); err != nil {
		r.log.Error("log", "error", err)
	}
	return end
}

// lookAtTheLab is what to do after a run whose end nobody saw.
const lookAtTheLab = "; look at the lab with a status job"

// watch follows the driver, which began at that time, to its end, publishing phases and keeping the timeout.
func (r *run) watch(ctx context.Context, process Process, began time.Time) (outcome, error) {
	timeout := r.w.config.Timeout
	if s := r.reporter.job.Request.TimeoutSeconds; s > 0 {
		timeout = time.Duration(s) * time.Second
	}
	timed, cancel := context.WithDeadline(ctx, began.Add(timeout))
	defer cancel()
	live, stopPhases := context.WithCancel(ctx)
	defer stopPhases()
	var phases sync.WaitGroup
	phases.Go(func() { r.phases(live, process) })
	result, err := process.Wait(timed)
	timedOut := err != nil && timed.Err() != nil && ctx.Err() == nil
	if timedOut {
		if err := say(r.entry.output(), "timeout: the run took longer than %s and is stopped", timeout); err != nil {
			r.log.Error("log", "error", err)
		}
		r.stop(ctx, process)
		result, err = process.Wait(ctx)
	}
	stopPhases()
	phases.Wait()
	if ctx.Err() != nil {
		process.Release()
		return outcome{}, ctx.Err()
	}
	if r.reporter.job.Action == jobs.Collect {
		// Failed or not: Netlab has made the directory, and is to be let to make it again.
		if err := r.w.markCollected(&r.reporter.job); err != nil {
			r.log.Warn("collect", "error", err)
		}
	}
	switch {
	case err == nil && result.ExitCode == 0:
		return succeeded(&result.ExitCode), nil
	case timedOut:
		return failed(jobs.ReasonTimeout, fmt.Sprintf("stopped after its timeout of %s%s", timeout, lookAtTheLab)), nil
	case err == nil && result.HostFault:
		return failed(jobs.ReasonHostFailed, result.Error), nil
	case err == nil:
		end := failed(jobs.ReasonNetlabFailed, result.Error)
		end.exitCode = &result.ExitCode
		return end, nil
	case errors.Is(err, exec.ErrNotStarted):
		return r.refuse(failed(jobs.ReasonHostFailed, "Netlab's driver ended before it began a command; the lines above may say why")), nil
	case errors.Is(err, exec.ErrNoResult), errors.Is(err, exec.ErrUnreadable):
		// What the driver had started may live on, and the next job of this directory must not meet it.
		r.stop(ctx, process)
		r.log.Warn("no result", "error", err)
		return r.refuse(failed(jobs.ReasonInterrupted, "Netlab's driver is gone without a result: it was killed, or the machine restarted"+lookAtTheLab)), nil
	}
	return outcome{}, err
}

func (r *run) stop(ctx context.Context, process Process) {
	if err := process.Stop(ctx, exec.DefaultGrace); err != nil && ctx.Err() == nil {
		r.log.Error("stop", "error", err)
	}
}

// phases publishes Netlab's steps. While one publish is under way, only the newest of those that follow is kept.
func (r *run) phases(ctx context.Context, process Process) {
	steps := process.Phases()
	for {
		select {
		case <-ctx.Done():
			return
		case phase, ok := <-steps:
			if !ok {
				return
			}
			phase = r.secrets.mask(newest(phase, steps))
			err := r.reporter.move(ctx, jobs.Progress, func(j *jobs.Job) {
				j.Phase, j.LogBytes = phase, r.spool.published.Load()
			})
			if err != nil && ctx.Err() == nil {
				r.log.Warn("phase not published", "phase", phase, "error", err)
			}
		}
	}
}

// newest is the last of the values that are there already.
func newest(value string, more <-chan string) string {
	for {
		select {
		case next, ok := <-more:
			if !ok {
				return value
			}
			value = next
		default:
			return value
		}
	}
}
