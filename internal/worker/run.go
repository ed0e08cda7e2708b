package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// run is the way of one job from its claim to its end.
type run struct {
	w        *Worker
	entry    *entry
	log      *slog.Logger
	reporter reporter
}

func newRun(w *Worker, e *entry, log *slog.Logger) *run {
	return &run{
		w: w, entry: e, log: log,
		reporter: reporter{bus: w.bus, source: w.source, job: e.Birth.Job},
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

// journey takes the job from wherever it stands to its end. An error other than errLost leaves it where it is: the next
// journey goes on from there.
func (r *run) journey(ctx context.Context) error {
	resumed, err := r.reporter.claim(ctx)
	if err != nil {
		return err
	}
	secrets, sealErr := r.w.key.Open(r.entry.Birth.Sealed)
	spool := newSpool(r.w.bus, r.w.config.Host, r.entry.Birth.ID, r.entry.output(), values(secrets))
	if resumed {
		if err := spool.resume(ctx); err != nil {
			return err
		}
	}
	ended := make(chan struct{})
	spooled := make(chan error, 1)
	go func() { spooled <- spool.run(ctx, ended) }()

	var end outcome
	if sealErr != nil {
		end = r.refuse(failed(jobs.ReasonInvalid, "environment: "+sealErr.Error()))
	} else {
		end, err = r.netlab(ctx, resumed, secrets, spool)
	}
	close(ended)
	if spoolErr := <-spooled; err == nil {
		err = spoolErr
	}
	if err != nil {
		return err
	}
	return r.reporter.move(ctx, end.event, func(j *jobs.Job) {
		j.LogBytes = spool.published.Load()
		j.Reason, j.ExitCode = end.reason, end.exitCode
		if end.event != jobs.Succeed {
			j.Error = &end.text
		}
	})
}

// netlab runs the commands of the action, or finds those that a worker before this one has started. An error means that the
// end is not known yet.
func (r *run) netlab(ctx context.Context, resumed bool, secrets map[string]string, spool *spool) (outcome, error) {
	process, err := r.attach(resumed)
	if err != nil {
		return outcome{}, err
	}
	if process == nil {
		var refused *outcome
		if process, refused = r.start(ctx, secrets); refused != nil {
			return r.refuse(*refused), nil
		}
	}
	return r.watch(ctx, process, spool)
}

// attach finds the driver that an earlier worker started. nil: there is none, and none can come to life any more.
func (r *run) attach(resumed bool) (Process, error) {
	dir, err := r.entry.lastRun()
	if err != nil || dir == "" || !resumed {
		return nil, err
	}
	process, err := exec.Attach(dir)
	if errors.Is(err, exec.ErrNotStarted) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return process, nil
}

// start prepares the working directory and starts the driver. refused is the end of a job that cannot start.
func (r *run) start(ctx context.Context, secrets map[string]string) (process Process, refused *outcome) {
	refuse := func(reason jobs.Reason, err error) (Process, *outcome) {
		end := failed(reason, err.Error())
		return nil, &end
	}
	job := &r.reporter.job
	place, err := r.w.prepare(job, r.entry.Birth.Topology)
	var bad *invalidError
	if errors.As(err, &bad) {
		return refuse(jobs.ReasonInvalid, err)
	}
	if err != nil {
		return refuse(jobs.ReasonHostFailed, err)
	}
	netlab, err := r.w.netlab.get(ctx)
	if err != nil {
		return refuse(jobs.ReasonHostFailed, err)
	}
	who, err := whoami()
	if err != nil {
		return refuse(jobs.ReasonHostFailed, err)
	}
	commands, err := exec.Plan(job.Request, exec.Lab{Topology: place.topology, Absent: !place.snapshot})
	if err != nil {
		return refuse(jobs.ReasonInvalid, err)
	}
	spec := exec.Run{
		Output:       r.entry.output(),
		Workdir:      place.dir,
		Commands:     commands,
		SnapshotYAML: true,
		Env: netlab.Environment(exec.Surroundings{
			User: who.name, Home: who.home, Workdir: place.dir, Path: r.w.path(),
			Extra: merge(job.Request.Environment, secrets),
		}),
	}
	if job.Request.StateRoot != "" {
		root, rel, err := r.w.within("stateRoot", job.Request.StateRoot)
		if err != nil {
			return refuse(jobs.ReasonInvalid, err)
		}
		spec.StatusFile = filepath.Join(root.Name(), rel, "status.yaml")
		_ = root.Close()
	}
	if job.Action.Changes() {
		if err := say(spec.Output, "%s in %s on host %s, Netlab %s", job.Action, place.dir, job.Host, netlab.Version); err != nil {
			return refuse(jobs.ReasonHostFailed, err)
		}
	}
	if spec.Dir, err = r.entry.nextRun(); err != nil {
		return refuse(jobs.ReasonHostFailed, err)
	}
	if r.w.config.Start != nil {
		process, err = r.w.config.Start(spec)
	} else {
		process, err = netlab.Start(spec)
	}
	if err != nil {
		return refuse(jobs.ReasonHostFailed, fmt.Errorf("starting Netlab: %w", err))
	}
	return process, nil
}

// refuse writes why a job cannot run into its log too.
func (r *run) refuse(end outcome) outcome {
	if err := say(r.entry.output(), "%s: %s", end.reason, end.text); err != nil {
		r.log.Error("log", "error", err)
	}
	return end
}

// watch follows the driver to its end, publishing phases and keeping the timeout.
func (r *run) watch(ctx context.Context, process Process, spool *spool) (outcome, error) {
	timeout := r.w.config.Timeout
	if s := r.reporter.job.Request.TimeoutSeconds; s > 0 {
		timeout = time.Duration(s) * time.Second
	}
	timed, cancel := context.WithDeadline(ctx, r.reporter.job.StartedAt.Add(timeout))
	defer cancel()
	live, stopPhases := context.WithCancel(ctx)
	defer stopPhases()
	var phases sync.WaitGroup
	phases.Go(func() { r.phases(live, process, spool) })
	result, err := process.Wait(timed)
	timedOut := err != nil && timed.Err() != nil && ctx.Err() == nil
	if timedOut {
		if err := say(r.entry.output(), "timeout: the run took longer than %s and is stopped", timeout); err != nil {
			r.log.Error("log", "error", err)
		}
		if err := process.Stop(ctx, exec.DefaultGrace); err != nil {
			r.log.Error("stop", "error", err)
		}
		_, err = process.Wait(ctx)
	}
	stopPhases()
	phases.Wait()
	switch {
	case ctx.Err() != nil:
		process.Release()
		return outcome{}, ctx.Err()
	case timedOut:
		return failed(jobs.ReasonTimeout, fmt.Sprintf("stopped after its timeout of %s", timeout)), nil
	case errors.Is(err, exec.ErrNoResult):
		// What the driver had started may live on, and the next job of this directory must not meet it.
		if err := process.Stop(ctx, exec.DefaultGrace); err != nil {
			r.log.Error("stop", "error", err)
		}
		return r.refuse(failed(jobs.ReasonInterrupted, "Netlab's process is gone without a result: it was killed, or the machine restarted; look at the lab with a status job")), nil
	case errors.Is(err, exec.ErrNotStarted):
		return r.refuse(failed(jobs.ReasonHostFailed, "Netlab's driver ended before it began a command; the lines above may say why")), nil
	case err != nil:
		return outcome{}, err
	case result.HostFault:
		return failed(jobs.ReasonHostFailed, result.Error), nil
	case result.ExitCode != 0:
		end := failed(jobs.ReasonNetlabFailed, result.Error)
		end.exitCode = &result.ExitCode
		return end, nil
	}
	if r.reporter.job.Action == jobs.Collect {
		if err := r.w.markCollected(&r.reporter.job); err != nil {
			r.log.Warn("collect", "error", err)
		}
	}
	return outcome{event: jobs.Succeed, exitCode: &result.ExitCode}, nil
}

// phases publishes Netlab's steps. While one publish is under way, only the newest of those that follow is kept.
func (r *run) phases(ctx context.Context, process Process, spool *spool) {
	steps := process.Phases()
	for {
		select {
		case <-ctx.Done():
			return
		case phase, ok := <-steps:
			if !ok {
				return
			}
			for newer := true; newer; {
				select {
				case next, ok := <-steps:
					if newer = ok; ok {
						phase = next
					}
				default:
					newer = false
				}
			}
			err := r.reporter.move(ctx, jobs.Progress, func(j *jobs.Job) {
				j.Phase, j.LogBytes = phase, spool.published.Load()
			})
			if err != nil && ctx.Err() == nil {
				r.log.Warn("phase not published", "phase", phase, "error", err)
			}
		}
	}
}

func values(m map[string]string) []string {
	list := make([]string, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

// merge lays the secret values over the request's variables, which show them masked.
func merge(shown, secret map[string]string) map[string]string {
	all := make(map[string]string, len(shown))
	for k, v := range shown {
		all[k] = v
	}
	for k, v := range secret {
		all[k] = v
	}
	return all
}
