package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// DefaultGrace is what a lab's programs need at most.
var DefaultGrace = Grace{Interrupt: 5 * time.Second, Terminate: 3 * time.Second, Kill: 5 * time.Second} //nolint:gochecknoglobals // a table that is never written

// driverGrace is how long the driver may take to write the result after what it ran was killed.
const driverGrace = 2 * time.Second

// Stop ends the run: it sends SIGINT, then SIGTERM, then SIGKILL to every process of the run's session, of whatever process
// group, and returns when none is left. So it also ends what a killed driver left behind. A run that has ended with a result
// is left as it is. An error names the processes that are still there, or is the context's.
//
// The driver is killed last: until then it writes the result, so Wait tells what was stopped.
func (p *Process) Stop(ctx context.Context, grace Grace) error {
	if !p.sameBoot {
		return nil
	}
	select {
	case <-p.done:
		if p.err == nil {
			return nil // what a lab rightly keeps running is left alone
		}
	default:
	}
	everybody := func(process) bool { return true }
	notDriver := func(q process) bool { return q.pid != p.driver.PID }
	for _, step := range []struct {
		signal unix.Signal
		who    func(process) bool
		grace  time.Duration
	}{
		{unix.SIGINT, everybody, grace.Interrupt},
		{unix.SIGTERM, everybody, grace.Terminate},
		{unix.SIGKILL, notDriver, driverGrace},
		{unix.SIGKILL, everybody, grace.Kill},
	} {
		if gone, err := p.signalUntilGone(ctx, step.signal, step.who, step.grace); gone || err != nil {
			return err
		}
	}
	left, err := p.session()
	if err != nil || len(left) == 0 {
		return err
	}
	names := make([]string, len(left))
	for i, q := range left {
		names[i] = fmt.Sprintf("%d (%s)", q.pid, q.name)
	}
	return fmt.Errorf("stopping a run: processes are left: %s", strings.Join(names, ", "))
}

// signalUntilGone sends the signal once to each process of the session, those that come later included, and says whether
// all were gone within the grace.
func (p *Process) signalUntilGone(
	outer context.Context, signal unix.Signal, who func(process) bool, grace time.Duration,
) (bool, error) {
	ctx, cancel := context.WithTimeout(outer, grace)
	defer cancel()
	told := map[identity]bool{}
	for {
		left, err := p.session()
		if err != nil || len(left) == 0 {
			return len(left) == 0, err
		}
		for _, q := range left {
			key := identity{PID: q.pid, Start: q.start}
			if !told[key] && who(q) {
				told[key] = true
				if err := send(key, signal); err != nil {
					return false, err
				}
			}
		}
		// One after the other: when the first is gone, look again who is left.
		if err := awaitEnd(ctx, identity{PID: left[0].pid, Start: left[0].start}); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && outer.Err() == nil {
				return false, nil
			}
			return false, fmt.Errorf("stopping a run: %w", err)
		}
	}
}

// session returns the living processes of the run's session.
func (p *Process) session() ([]process, error) {
	leader, err := readProcess(p.driver.PID)
	if err == nil && leader.start != p.driver.Start {
		return nil, nil // the number belongs to another process by now, so nobody was left in the session
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for the processes of a run: %w", err)
	}
	var members []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		q, err := readProcess(pid)
		if err != nil {
			continue // it ended meanwhile
		}
		if q.session == p.driver.PID && q.start >= p.driver.Start && !q.gone() {
			members = append(members, q)
		}
	}
	return members, nil
}

// send signals the process, and no other that may have its number by now. One that is gone is fine, and so is one that we
// may not signal (sudo's child): it shows at the end.
func send(who identity, signal unix.Signal) error {
	pidfd, err := openPidfd(who)
	if err != nil || pidfd < 0 {
		return err
	}
	defer unix.Close(pidfd)
	err = unix.PidfdSendSignal(pidfd, signal, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("signalling process %d: %w", who.PID, err)
	}
	return nil
}

// awaitEnd returns when the process has ended, or the context's error.
func awaitEnd(ctx context.Context, who identity) error {
	pidfd, err := openPidfd(who)
	if err != nil || pidfd < 0 {
		return err
	}
	file := pidfdFile(pidfd)
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = waitReadable(file)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
