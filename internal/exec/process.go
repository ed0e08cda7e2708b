package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a run that was started, by this process or by an earlier one. Its methods may be called from any goroutine.
type Process struct {
	dir      string
	job      string // "" where it is not known
	driver   identity
	sameBoot bool

	done     chan struct{} // closed once result and err are set
	result   Result
	err      error
	released chan struct{}
	release  sync.Once
	pidfd    *os.File // nil where the driver was gone already

	follow sync.Once
	phases chan string
	asks   chan json.RawMessage

	asking   sync.Mutex
	question json.RawMessage // what has been put into asks
}

func newProcess(dir string, driver identity) *Process {
	return &Process{
		dir: dir, driver: driver, sameBoot: true,
		done: make(chan struct{}), released: make(chan struct{}),
		phases: make(chan string, phasesKept), asks: make(chan json.RawMessage, 1),
	}
}

// Pid is the number of the driver's process and of its session.
func (p *Process) Pid() int { return p.driver.PID }

// Age is how long ago the driver began, whatever was done to the clock meanwhile; 0 where the machine was started anew since.
func (p *Process) Age() (time.Duration, error) {
	if !p.sameBoot {
		return 0, nil
	}
	return p.driver.age()
}

// Done is closed when the driver is gone; Wait then returns at once.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the run ended, once its driver is gone. ErrNoResult: it was killed, and what it had started may live on.
// ErrNotStarted: it ended before it had begun a command. Or the context's error.
func (p *Process) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	default:
		// An end that is known counts, also when the context has ended too.
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Release stops watching and leaves the run alone. Where the run has not ended, Wait returns ErrReleased from now on.
func (p *Process) Release() {
	p.release.Do(func() { close(p.released) })
	if p.pidfd != nil {
		_ = p.pidfd.Close() // wakes the watcher
	}
	<-p.done
}

// watch waits for the driver's end in the background and then collects the result. A pidfd of -1 is a driver that is gone.
// reap, where the driver is our child, is called when it has ended.
func (p *Process) watch(pidfd int, reap func() error) {
	if pidfd < 0 {
		p.result, p.err = readResult(p.dir)
		close(p.done)
		return
	}
	p.pidfd = pidfdFile(pidfd)
	go func() {
		defer close(p.done)
		defer p.pidfd.Close()
		if err := waitReadable(p.pidfd); err != nil {
			p.err = fmt.Errorf("watching process %d: %w", p.driver.PID, err)
			select {
			case <-p.released:
				p.err = ErrReleased
			default:
			}
			return
		}
		if reap != nil {
			_ = reap() // returns at once; how the driver ended says nothing that the result does not
		}
		p.result, p.err = readResult(p.dir)
	}()
}

// pidfdFile lets Go wait for the descriptor together with its sockets, so that no thread is held.
func pidfdFile(pidfd int) *os.File {
	_ = unix.SetNonblock(pidfd, true) // cannot fail on an open descriptor
	return os.NewFile(uintptr(pidfd), "pidfd")
}

// waitReadable returns when the process of a pidfd has ended, or the file's deadline is over, or it was closed.
func waitReadable(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		for {
			if n, pollErr = unix.Poll(fds, 0); !errors.Is(pollErr, unix.EINTR) {
				break
			}
		}
		return pollErr != nil || n > 0
	})
	return errors.Join(err, pollErr)
}

// openPidfd returns a descriptor of the process, or -1 if it is gone (or its number is another's by now).
func openPidfd(who identity) (int, error) {
	pidfd, err := unix.PidfdOpen(who.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("watching process %d: %w", who.PID, err)
	}
	// Only now: the descriptor holds the process, so what is read of its number from here on is this one's or nobody's.
	p, err := readProcess(who.PID)
	if err == nil && p.start == who.Start {
		return pidfd, nil
	}
	_ = unix.Close(pidfd)
	if isShort(err) {
		return -1, fmt.Errorf("watching process %d: %w", who.PID, err)
	}
	return -1, nil
}
