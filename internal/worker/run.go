package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// run is the way of one job from its claim to its end.
type run struct {
	w     *Worker
	entry *entry
	// key is the directory that the job has to itself.
	key string
	// working is that of the task.
	working  *sync.Mutex
	log      *slog.Logger
	reporter reporter
	spool    *spool
	secrets  secrets
	// sealed is why the secrets are not known, nil where they are; hidden says that so the log is without what the run writes.
	sealed error
	hidden bool
	// scene is set before the driver starts, or read again where a worker before this one has started it.
	scene scene
	// ran says that there is, or was, a driver.
	ran bool
	// owner is the user that the job runs as, for one that names none.
	owner string
	// instance is Netlab's id of the lab, once the driver has said it.
	instance atomic.Pointer[string]
	// kept is what was kept of the job's files, keptNot says what could not be.
	kept    *jobs.Kept
	keptNot []string
	// canceled says, at the end, that a client has asked for it.
	canceled bool
}

func newRun(w *Worker, t *task, log *slog.Logger) *run {
	return &run{
		w: w, entry: t.entry, key: t.key, working: &t.working, log: log,
		reporter: reporter{bus: w.bus, source: w.source, taken: t.entry.Source, job: t.entry.Birth.Job},
	}
}

// outcome is how a run ended.
type outcome struct {
	event    jobs.Event
	reason   jobs.Reason
	text     string
	exitCode *int
	// errors are what Netlab says is wrong with the topology.
	errors []jobs.Problem
	// warnings are what was done otherwise than the request says.
	warnings []string
}

func failed(reason jobs.Reason, text string) outcome {
	return outcome{event: jobs.Fail, reason: reason, text: text}
}

func canceled(text string) outcome {
	return outcome{event: jobs.Cancel, reason: jobs.ReasonCanceled, text: text}
}

func succeeded(exitCode *int) outcome {
	return outcome{event: jobs.Succeed, exitCode: exitCode}
}

// journey takes the job from wherever it stands to its end. An error other than errLost leaves it where it is: the next
// journey goes on from there.
func (r *run) journey(ctx context.Context) error {
	gone, err := r.entry.mend()
	if err != nil {
		return err
	}
	if gone {
		r.log.Warn("somebody has removed the job from the journal, it is written again")
	}
	before, err := r.entry.lastRun()
	if err != nil {
		return err
	}
	if before == "" {
		if err := r.w.awaitHold(ctx); err != nil {
			return err
		}
	}
	if err := r.w.ensureBorn(ctx, r.entry); err != nil {
		return err
	}
	orphaned := before == "" && (r.entry.Lost || r.entry.began)
	resumed, err := r.reporter.claim(ctx, orphaned)
	if err != nil {
		return err
	}
	if before == "" && resumed && !orphaned {
		if orphaned, err = r.isLost(); err != nil {
			return err
		}
	}
	words := "job begins"
	if resumed || before != "" {
		words = "job goes on"
	}
	r.log.Info(words, "action", r.entry.Birth.Action, "workdir", r.entry.Birth.Workdir)
	r.secrets, r.sealed = r.w.key.Open(r.entry.Birth.Sealed)
	if err := r.hideOutput(ctx, before != "" || orphaned); err != nil {
		return err
	}
	if err := r.joinLog(ctx, orphaned); err != nil {
		return err
	}
	runCtx, hush := r.w.listen(ctx, r.entry.Birth.ID)
	defer hush()
	r.spool = newSpool(r.w.bus, r.w.config.Host, r.entry.Birth.ID, r.entry.output(), r.secrets.list(), r.entry.LogLimit)
	defer r.w.live.add(r)()
	r.spool.patience = r.w.config.LogPatience
	ended := make(chan struct{})
	spooled := make(chan error, 1)
	spooling, enough := context.WithCancel(ctx)
	defer enough()
	go func() { spooled <- r.spool.keep(spooling, ended, resumed || before != "", r.log) }()

	var end outcome
	switch {
	case orphaned:
		end, err = r.orphan(ctx, runCtx)
	default:
		end, err = r.netlab(ctx, runCtx, before)
		// Another error is of a run that may be there, and that is to be stopped when it is found.
		if errors.Is(err, context.Canceled) && ctx.Err() == nil && errors.Is(context.Cause(runCtx), errCanceled) {
			end, err = r.refuse(canceled("canceled before Netlab began")), nil
		}
	}
	if err == nil {
		err = r.keepFiles(ctx)
	}
	r.canceled = errors.Is(context.Cause(runCtx), errCanceled)
	if err == nil {
		close(ended)
	} else {
		enough() // the run may go on, and its output too
	}
	if spoolErr := <-spooled; err == nil {
		err = spoolErr
	}
	for err == nil {
		if err = r.conclude(ctx, end); !errors.Is(err, errAgain) {
			return err
		}
		err = r.complete(ctx, ended)
	}
	return err
}

// conclude publishes the terminal state, once the bus has the whole log. It has the errors of move.
func (r *run) conclude(ctx context.Context, end outcome) error {
	return r.reporter.move(ctx, end.event, func(j *jobs.Job) {
		r.tell(j)
		j.Reason, j.ExitCode = end.reason, end.exitCode
		j.Errors = r.fitting(end.errors)
		for _, warning := range end.warnings[:min(len(end.warnings), mostWarnings)] {
			j.Warnings = append(slices.Clip(j.Warnings), fit(r.secrets.mask(warning), warningRoom))
		}
		j.Kept, j.Warnings = r.kept, append(slices.Clip(j.Warnings), r.keptNot...)
		if warning := r.spool.cutWarning(); warning != "" {
			j.Warnings = append(j.Warnings, warning)
		}
		if r.hidden {
			j.Warnings = append(j.Warnings, hiddenText)
		}
		if end.event != jobs.Succeed {
			text := fit(r.secrets.mask(end.text), errorRoom)
			j.Error = &text
		}
	})
}

// isLost says whether the job has a run of which the journal has nothing any more.
func (r *run) isLost() (bool, error) {
	if r.reporter.job.Phase != "" { // a driver has told it
		return true, nil
	}
	return exec.Lives(r.entry.Birth.ID)
}

// tell sets what every state of the job says besides.
func (r *run) tell(j *jobs.Job) {
	if j.User == "" {
		j.User = r.owner
	}
	j.LogBytes = max(j.LogBytes, r.spool.published.Load()) // a spool that begins anew starts at its base
	if instance := r.instance.Load(); instance != nil && j.Instance == "" {
		j.Instance = *instance
	}
	j.CancelRequested = j.CancelRequested || r.canceled
}

// netlab runs the commands of the action, or finds those that a worker before this one has started in the directory
// before. runCtx ends when the job is canceled, too. An error means that the end is not known yet.
func (r *run) netlab(ctx, runCtx context.Context, before string) (outcome, error) {
	process, began, err := r.attach(before)
	if err == nil && process == nil && before != "" {
		// A driver that may not begin is about to end. One whose driver.json somebody has removed goes on, and leaves a trace.
		if end, stopped, err := r.awaitProcesses(ctx, runCtx); stopped || err != nil {
			return end, err
		}
		process, began, err = r.attach(before)
		if err == nil && process == nil && r.reporter.job.Phase != "" {
			err = fmt.Errorf("%w: nothing is left of %s", exec.ErrUnreadable, before)
		}
	}
	if errors.Is(err, exec.ErrUnreadable) {
		left := r.stopJob(ctx)
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
		r.scene.Dir = r.key // unless more is known
		if err := r.resume(before); err == nil {
			r.after(ctx)
		}
		return r.refuse(failed(jobs.ReasonInterrupted, err.Error()+leftText(left)+"; "+r.labNow(ctx))), nil
	}
	if err != nil {
		return outcome{}, err
	}
	if process == nil {
		var end *outcome
		if process, end = r.start(runCtx); end != nil {
			if runCtx.Err() != nil {
				return outcome{}, runCtx.Err() // whatever was refused was refused for that
			}
			return r.refuse(*end), nil
		}
		began = time.Now()
	}
	return r.watch(ctx, runCtx, process, began)
}

// attach finds the driver that an earlier worker started. nil: there is none, and none can come to life any more.
func (r *run) attach(dir string) (process Process, began time.Time, err error) {
	if dir == "" {
		return nil, began, nil
	}
	attached, err := r.w.attach(dir, r.entry.Birth.ID)
	if errors.Is(err, exec.ErrNotStarted) {
		return nil, began, nil
	}
	if err != nil {
		return nil, began, err
	}
	if err := r.resume(dir); err != nil {
		attached.Release()
		return nil, began, err
	}
	age, err := attached.Age()
	if err != nil {
		attached.Release()
		return nil, began, err
	}
	return attached, time.Now().Add(-age), nil
}

// start prepares the working directory and starts the driver. end is that of a job that needs no driver or cannot have one.
func (r *run) start(ctx context.Context) (process Process, end *outcome) {
	if r.sealed != nil {
		return nil, refusal(invalid("environment", "%v", r.sealed))
	}
	spec, end := r.specifyWhile(ctx)
	if end != nil {
		return nil, end
	}
	defer spec.close()
	// That may have taken longer than the lease: another worker may have the host's name, and the job.
	if err := r.w.awaitHold(ctx); err != nil {
		return nil, refusal(err)
	}
	if err := ctx.Err(); err != nil {
		return nil, refusal(err)
	}
	var err error
	if spec.run.Dir, err = r.entry.nextRun(); err != nil {
		return nil, refusal(err)
	}
	if r.w.config.Start != nil {
		process, err = r.w.config.Start(spec.run)
	} else {
		process, err = spec.netlab.Start(spec.run)
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

// watch follows the driver, which began at that time, to its end: it answers its questions, publishes phases, keeps the
// timeout, and stops the run when its job is canceled.
func (r *run) watch(ctx, runCtx context.Context, process Process, began time.Time) (outcome, error) {
	r.ran = true
	r.owner = r.scene.Who.Name
	timeout := r.timeout()
	timed, cancel := context.WithDeadline(runCtx, began.Add(timeout))
	defer cancel()
	defer process.Release()
	live, stopFollowing := context.WithCancel(runCtx)
	defer stopFollowing()
	var following sync.WaitGroup
	following.Go(func() { r.phases(live, process) })
	following.Go(func() { r.answer(live, process) })
	following.Go(func() { r.quiet(live, began) })
	result, err := process.Wait(timed)

	var stopped *outcome
	var left error
	// A result that came of signals is of a stop that a worker before this one has begun.
	overdue := err != nil && timed.Err() != nil || err == nil && result.Stopped
	if overdue && ctx.Err() == nil {
		stopped = r.whyStopped(timed, runCtx, timeout)
		if stopped != nil || result.ExitCode != 0 {
			left = r.stop(ctx, process.Stop)
			result, err = lastWords(ctx, process)
		}
	}
	stopFollowing()
	following.Wait()
	if ctx.Err() != nil {
		return outcome{}, ctx.Err()
	}
	r.after(ctx)
	if r.sealed != nil {
		result.Error, result.Errors, result.Warnings = "what Netlab says is left out, since its secrets cannot be masked", nil, nil
	}
	switch {
	// Where nothing is changed, the signal may have come in between what there is to show.
	case err == nil && result.ExitCode == 0 && (stopped == nil || r.entry.Birth.Action.Changes()):
		end := succeeded(&result.ExitCode)
		end.warnings = result.Warnings
		return end, nil
	case stopped != nil:
		return r.stopped(ctx, *stopped, left), nil
	case err == nil:
		end := r.judge(ctx, result)
		end.text += leftText(left)
		return end, nil
	case errors.Is(err, exec.ErrNotStarted):
		return r.refuse(failed(jobs.ReasonHostFailed, "Netlab's driver ended before it began a command; the lines above may say why"+r.noRoom(ctx, false))), nil
	case errors.Is(err, exec.ErrNoResult), errors.Is(err, exec.ErrUnreadable):
		// What the driver had started may live on, and the next job of this directory must not meet it.
		left := r.stop(ctx, process.Stop)
		r.log.Warn("no result", "error", err)
		return r.refuse(failed(jobs.ReasonInterrupted, "Netlab's driver is gone without a result: it was killed, or the machine restarted"+
			leftText(left)+r.noRoom(ctx, false)+"; "+r.labNow(ctx))), nil
	}
	return outcome{}, err
}

func (r *run) timeout() time.Duration {
	if s := r.reporter.job.Request.TimeoutSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return r.w.config.Timeout
}

// whyStopped is the end of a run that was stopped, said in its log: by a client's request or by its timeout. nil: by neither.
func (r *run) whyStopped(timed, runCtx context.Context, timeout time.Duration) *outcome {
	var end outcome
	words := ""
	switch {
	case errors.Is(context.Cause(runCtx), errCanceled):
		end, words = canceled("stopped, because it was canceled"), "canceled: the run is stopped"
	case timed.Err() != nil:
		end = failed(jobs.ReasonTimeout, fmt.Sprintf("stopped after its timeout of %s", timeout))
		words = fmt.Sprintf("timeout: the run took longer than %s and is stopped", timeout)
	default:
		return nil
	}
	if err := say(r.entry.output(), "%s", words); err != nil {
		r.log.Error("log", "error", err)
	}
	return &end
}

// lastWait is how long the result of a run that was stopped is waited for: a driver that hangs in the kernel writes none.
const lastWait = 3 * time.Second

func lastWords(ctx context.Context, process Process) (exec.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, lastWait)
	defer cancel()
	return process.Wait(ctx)
}

// judge is the end of a run that did not succeed, by what its driver says.
func (r *run) judge(ctx context.Context, result exec.Result) outcome {
	end := failed(jobs.ReasonNetlabFailed, r.secrets.mask(result.Error)) // before more follows: it may be cut off
	end.errors = result.Errors
	end.warnings = result.Warnings
	switch {
	case result.HostFault:
		end.reason = jobs.ReasonHostFailed
	case result.Invalid:
		end.reason = jobs.ReasonInvalid
	default:
		end.exitCode = &result.ExitCode
		if full := r.noRoom(ctx, result.DiskFull); full != "" {
			end.reason = jobs.ReasonHostFailed
			end.text += full
		}
	}
	return end
}

// stopped completes the end of a run that was stopped. left is the error of that.
func (r *run) stopped(ctx context.Context, end outcome, left error) outcome {
	end.text += leftText(left)
	if end.reason == jobs.ReasonTimeout {
		end.text += r.noRoom(ctx, false)
	}
	end.text += "; " + r.labNow(ctx)
	return r.refuse(end)
}

// afterPatience is how long a job waits for what is done in its working directory when its run has ended.
const afterPatience = 5 * time.Second

// after is what is done in the working directory when the run has ended, however that was.
func (r *run) after(ctx context.Context) {
	patience, cancel := context.WithTimeout(ctx, afterPatience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.working.Lock()
		defer r.working.Unlock()
		action := r.entry.Birth.Action // the reporter's job is moved while this hangs
		if action == jobs.Collect {
			// Failed or not: Netlab has made the directory, and is to be let to make it again.
			if err := r.markCollected(); err != nil {
				r.log.Warn("collect", "error", err)
			}
		}
		if action.Changes() && r.scene.Dir != "" {
			r.settleLab()
			r.forgetLab(ctx)
			r.tidy()
		}
	}()
	select {
	case <-done:
	case <-patience.Done():
		select {
		case <-done:
		case <-time.After(hangGrace):
			r.log.Warn("what is left to do in the working directory of a job that has ended waits until it answers, and other jobs of it too", "dir", r.scene.Dir)
		}
	}
}

// stop ends the run's processes, trying again until that is known. Its error names those that are left, or is the context's.
func (r *run) stop(ctx context.Context, stop func(context.Context, exec.StopOptions) error) error {
	for wait := time.Second; ; wait = min(2*wait, retryAtMost) {
		err := stop(ctx, exec.StopOptions{Grace: exec.DefaultGrace, Sudo: r.w.path()})
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.log.Error("stop", "error", err)
		var left *exec.LeftError
		if errors.As(err, &left) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// stopJob is stop for a run whose driver is not known.
func (r *run) stopJob(ctx context.Context) error {
	return r.stop(ctx, func(ctx context.Context, o exec.StopOptions) error { return exec.StopJob(ctx, r.entry.Birth.ID, o) })
}

// leftText says which processes are left, for the end of a sentence.
func leftText(err error) string {
	var left *exec.LeftError
	if !errors.As(err, &left) {
		return ""
	}
	return "; these processes could not be ended, and are for root to end: " + strings.Join(left.Left, ", ")
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
			if r.sealed != nil {
				continue
			}
			phase = r.secrets.mask(newest(phase, steps))
			err := r.reporter.move(ctx, jobs.Progress, func(j *jobs.Job) {
				j.Phase = phase
				r.tell(j)
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
