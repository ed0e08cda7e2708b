package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Grace is how long a run may take to end, by each signal. The zero value of a field means no time at all.
type Grace struct {
	// Interrupt is the time after SIGINT: Netlab ends in order.
	Interrupt time.Duration
	// Terminate is the time after SIGTERM.
	Terminate time.Duration
	// Kill is the time after SIGKILL, which only a process in the midst of a system call, or another user's, survives.
	Kill time.Duration
}

// DefaultGrace is what a lab's programs need at most. With it Stop returns within 15 s, whatever the processes ignore.
var DefaultGrace = Grace{Interrupt: 5 * time.Second, Terminate: 3 * time.Second, Kill: 1500 * time.Millisecond} //nolint:gochecknoglobals // a table that is never written

// StopOptions say how to stop a run.
type StopOptions struct {
	// Grace is how long its processes may take.
	Grace Grace
	// Sudo is the list of folders, separated by colons, to find sudo in. What this process may not signal (the children of
	// sudo, where it is not root) is signalled by `sudo -n kill` then. Empty: not at all.
	Sudo string
}

const (
	// killGrace is how long the kernel may take to end what was killed.
	killGrace = 1500 * time.Millisecond
	// driverGrace is how long the driver may take to write the result after that.
	driverGrace = 2 * time.Second
	// lookInterval is how long a stop waits for one process before it looks again who is there.
	lookInterval = 100 * time.Millisecond
)

// Stop ends the run: it sends SIGINT, then SIGTERM, then SIGKILL to every process of the run, and returns when none is left.
// It finds them by the driver's session, by their descent from the driver and by RUNNER_JOB, so also those that went into the
// background, changed their session or outlived a killed driver (see tree.living for what cannot be found). A run that has ended
// with a result is left as it is, unless it had been signalled before. A *LeftError names the processes that are still there;
// another error is the context's, or says why it is not known who is, with too many files open say.
//
// The driver is killed last: until then it writes the result, so Wait tells what was stopped.
func (p *Process) Stop(ctx context.Context, o StopOptions) error {
	if !p.sameBoot || p.endedByItself(ctx) {
		return nil
	}
	return stop(ctx, &tree{driver: p.driver, job: p.job}, o)
}

// StopJob ends every process that has RUNNER_JOB=<job> in its environment, with its descendants, as Stop does. It is for a run
// whose driver is not known: Attach says ErrUnreadable.
func StopJob(ctx context.Context, job string, o StopOptions) error {
	if job == "" {
		return errors.New("stopping a job: no id")
	}
	return stop(ctx, &tree{job: job}, o)
}

// Lives says whether there is any process that has RUNNER_JOB=<job> in its environment, or a descendant of one.
func Lives(job string) (bool, error) {
	if job == "" {
		return false, nil
	}
	living, err := (&tree{job: job}).living()
	return len(living) > 0, err
}

// Age is how long ago the first of the processes began that Lives is about; 0 where there is none.
func Age(job string) (time.Duration, error) {
	living, err := (&tree{job: job}).living()
	if job == "" || err != nil || len(living) == 0 {
		return 0, err
	}
	first := slices.MinFunc(living, func(a, b process) int { return cmp.Compare(a.start, b.start) })
	return first.identity().age()
}

// endedByItself says whether the run has ended without having been stopped: what a lab rightly keeps running is left alone.
func (p *Process) endedByItself(ctx context.Context) bool {
	if HasResult(p.dir) {
		// The driver has no more to do than to end.
		ctx, cancel := context.WithTimeout(ctx, driverGrace)
		defer cancel()
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	select {
	case <-p.done:
		return p.err == nil && !p.result.Stopped
	default:
		return false
	}
}

func stop(ctx context.Context, t *tree, o StopOptions) error {
	everybody := func(process) bool { return true }
	driver := func(q process) bool { return q.identity() == identity{PID: t.driver.PID, Start: t.driver.Start} }
	s := &stopping{tree: t, sudo: o.Sudo}
	for _, step := range []struct {
		signal unix.Signal
		who    func(process) bool
		grace  time.Duration
	}{
		{unix.SIGINT, everybody, o.Grace.Interrupt},
		{unix.SIGTERM, everybody, o.Grace.Terminate},
		{unix.SIGKILL, func(q process) bool { return !driver(q) }, killGrace},
		{unix.SIGUSR1, driver, driverGrace}, // the driver waits no longer for who is left, and writes the result
		{unix.SIGKILL, everybody, o.Grace.Kill},
	} {
		if gone, err := s.signalUntilGone(ctx, step.signal, step.who, step.grace); gone || err != nil {
			return err
		}
	}
	living, err := t.living()
	if err != nil || len(living) == 0 {
		return err
	}
	left := &LeftError{Left: make([]string, len(living))}
	for i, q := range living {
		left.Left[i] = fmt.Sprintf("%d (%s)", q.pid, q.name)
	}
	return left
}

// stopping is a stop that is under way.
type stopping struct {
	tree *tree
	sudo string // where to find it, "" for not at all
}

// signalUntilGone sends the signal once to each process of the run that it is for, those that come later included, and says
// whether all of the run's were gone within the grace.
func (s *stopping) signalUntilGone(
	outer context.Context, signal unix.Signal, who func(process) bool, grace time.Duration,
) (bool, error) {
	ctx, cancel := context.WithTimeout(outer, grace)
	defer cancel()
	told := map[identity]bool{}
	for {
		living, err := s.tree.living()
		if err != nil || len(living) == 0 {
			return len(living) == 0, err
		}
		var refused []process
		for _, q := range living {
			if told[q.identity()] || !who(q) {
				continue
			}
			told[q.identity()] = true
			if err := send(q.identity(), signal); errors.Is(err, unix.EPERM) {
				refused = append(refused, q)
			} else if err != nil {
				return false, err
			}
		}
		if len(refused) > 0 {
			s.sudoKill(ctx, signal, refused)
		}
		if signal == unix.SIGUSR1 && !slices.ContainsFunc(living, who) {
			return false, nil // the driver is gone: the rest is not waited for any longer
		}
		// One after the other, and not for long: others may have come meanwhile.
		if err := awaitEnd(ctx, living[0].identity(), lookInterval); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && outer.Err() == nil {
				return false, nil
			}
			return false, fmt.Errorf("stopping a run: %w", err)
		}
	}
}

// send signals the process, and no other that may have its number by now. One that is gone is fine. One that was halted goes
// on, else it would not notice.
func send(who identity, signal unix.Signal) error {
	pidfd, err := openPidfd(who)
	if err != nil || pidfd < 0 {
		return err
	}
	defer unix.Close(pidfd)
	err = unix.PidfdSendSignal(pidfd, signal, nil, 0)
	if err == nil {
		err = unix.PidfdSendSignal(pidfd, unix.SIGCONT, nil, 0)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", who.PID, err)
	}
	return nil
}

// awaitEnd returns when the process has ended or the time is over, or the context's error.
func awaitEnd(ctx context.Context, who identity, patience time.Duration) error {
	pidfd, err := openPidfd(who)
	if err != nil {
		return err
	}
	if pidfd < 0 {
		return ctx.Err()
	}
	file := pidfdFile(pidfd)
	defer file.Close()
	brief, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wake := context.AfterFunc(brief, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()
	err = waitReadable(file)
	if brief.Err() != nil {
		return ctx.Err()
	}
	return err
}
