package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerPatience is how long a parent may take to fork; one that may have something to prepare has probeTimeout.
	answerPatience = 5 * time.Second
	// failurePause is how long no parent is started after one that has failed, or was of no use: to start Netlab in vain twice a job costs too much.
	failurePause = 30 * time.Second
	// jobRoom is what a fork has room for, in bytes, for its job; dirRoom for its directory, beside the data directory and the job.
	jobRoom, dirRoom = 64, 64
	// answerLimit and outputLimit bound what is read of what a parent says, in bytes.
	answerLimit, outputLimit = 4 << 10, 64 << 10
)

// warm keeps a process that has Netlab imported, the parent, from which runs are forked: see driver/warm.py.
type warm struct {
	netlab *Netlab
	// titleRoom is what a fork has room for, in bytes, for its directory. Who lists processes sees all of it, as blanks.
	titleRoom int
	idle      time.Duration
	log       *slog.Logger

	mu sync.Mutex
	// importPatience is probeTimeout, patience is answerPatience, and pause is failurePause; others in tests.
	importPatience, patience, pause time.Duration

	parent  *parent // nil: there is none
	failed  time.Time
	closed  bool
	running sync.WaitGroup
}

// parent is a process that forks runs.
type parent struct {
	cmd    *exec.Cmd
	socket *net.UnixConn
	said   *head
	// answered says that it was asked for a run and knew what to do, settled that all was prepared by then; guarded by the mutex of warm.
	answered, settled bool
	gone              chan struct{} // closed when it has ended and that is noted
}

// KeepWarm lets runs begin sooner from now on: they are forked from a process that has Netlab imported, about 60 MiB large, which
// ends when no run has begun for the time idle, and comes back with the next one. A run that it cannot start is started as ever.
//
// Close ends the process, and leaves the runs alone.
func (n *Netlab) KeepWarm(idle time.Duration, log *slog.Logger) {
	n.warm = &warm{
		netlab: n, titleRoom: len(n.dataDir) + jobRoom + dirRoom, idle: idle, log: log,
		importPatience: probeTimeout, patience: answerPatience, pause: failurePause,
	}
	if _, err := n.warm.get(); err != nil {
		n.warm.log.Warn("Netlab is not kept ready", "error", err)
	}
}

// TakeOver has the runs of n, which was found after before, forked from what KeepWarm has started for that one.
func (n *Netlab) TakeOver(before *Netlab) {
	w := before.warm
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.Python != before.Python {
		w.drop() // it would not notice
	}
	w.netlab, n.warm = n, w
}

// Close ends what KeepWarm has started.
func (n *Netlab) Close() {
	if n.warm != nil {
		n.warm.close()
	}
}

// start forks the run from the parent. nil: it has to be started in another way, and no fork of it can begin any more.
func (w *warm) start(r *Run, files ...*os.File) *Process {
	if w == nil || len(r.Job) > jobRoom || len(r.Dir) > w.titleRoom {
		return nil
	}
	var err error
	for range 2 {
		var parent *parent
		if parent, err = w.get(); err != nil {
			break
		}
		var p *Process
		if p, err = w.fork(parent, r, files); err == nil {
			return p
		}
		var changed *changedError
		switch {
		case errors.As(err, &changed):
			w.log.Info("Netlab has changed, it is imported anew", "file", changed.file)
		case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, net.ErrClosed):
			// It had nothing to do for long, or was killed, or has failed.
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.unready(err)
			w.end(parent, 0)
			return nil
		default: // it is well
			w.unready(err)
			return nil
		}
		w.end(parent, answerPatience)
	}
	var changed *changedError
	if errors.As(err, &changed) {
		w.fail() // something is being installed just now, or a file changes all the time
	}
	w.unready(err)
	return nil
}

func (w *warm) unready(err error) {
	w.log.Warn("a run is started without what is kept ready", "error", err)
}

// get returns the parent, which may be one that is only starting.
func (w *warm) get() (*parent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, errors.New("the worker ends")
	case w.parent != nil:
		return w.parent, nil
	case time.Since(w.failed) < w.pause:
		return nil, errors.New("it has failed a moment ago")
	}
	socket, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &parent{socket: socket, said: &head{limit: outputLimit, full: func() {}}, gone: make(chan struct{})}
	p.cmd = w.netlab.command(context.Background(), driverEnvironment(w.netlab.Python, strings.Repeat(" ", jobRoom)),
		"warm", "3", strconv.FormatFloat(w.idle.Seconds(), 'f', -1, 64), MinVersion, strings.Repeat(" ", w.titleRoom))
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	// One that hangs would not see that the worker was killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	w.running.Go(func() {
		// The kernel sends that signal when the thread has ended that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			w.await(p)
		}
	})
	if err := <-started; err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	w.parent = p
	return p, nil
}

// await notes the end of the parent.
func (w *warm) await(p *parent) {
	defer close(p.gone)
	err := p.cmd.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = p.socket.Close()
	if w.parent != p {
		return // it was to end
	}
	w.parent = nil
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // what reads the defaults for it may be a little behind
		return
	}
	w.log.Warn("the process that keeps Netlab ready has ended", "error", err, "output", string(lastLine(p.said.text.Bytes())))
	if !p.answered || p.cmd.ProcessState.Exited() { // and was not killed
		w.failed = time.Now()
	}
}

// fail has no parent started for a while.
func (w *warm) fail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = time.Now()
}

// end sees to the end of a parent that is of no use, which has so long to end by itself: else it has failed. What it has forked goes on.
func (w *warm) end(p *parent, patience time.Duration) {
	select {
	case <-p.gone:
	case <-time.After(patience):
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.parent == p {
			w.drop()
			w.failed = time.Now()
		}
	}
}

// drop ends the parent, if there is one. mu is held.
func (w *warm) drop() {
	if w.parent != nil {
		_ = w.parent.cmd.Process.Kill()
		w.parent = nil
	}
}

func (w *warm) close() {
	w.mu.Lock()
	w.closed = true
	w.drop()
	w.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		w.running.Wait()
	}()
	select {
	case <-gone:
	case <-time.After(killGrace + pipeGrace):
		w.log.Warn("the process that keeps Netlab ready does not end, it may hang within the kernel")
	}
}

// changedError is a parent that has imported what is no longer installed.
type changedError struct{ file string }

func (e *changedError) Error() string { return e.file + " has changed" }

// fork lets the parent fork the run, and then lets the run begin. After an error it does not, ever.
func (w *warm) fork(from *parent, r *Run, files []*os.File) (*Process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(map[string]string{"dir": r.Dir, "job": r.Job})
	if err != nil {
		return nil, err
	}
	own, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	defer theirs.Close()
	fds := []int{int(theirs.Fd())}
	for _, file := range files {
		fds = append(fds, int(file.Fd()))
	}
	deadline := time.Now().Add(w.patienceWith(from))
	if err := errors.Join(from.socket.SetWriteDeadline(deadline), own.SetDeadline(deadline)); err != nil {
		return nil, err
	}
	if _, _, err := from.socket.WriteMsgUnix(request, unix.UnixRights(fds...), nil); err != nil {
		return nil, err
	}
	// Else its end would not be seen here.
	if err := theirs.Close(); err != nil {
		return nil, err
	}
	var answer struct {
		PID             int
		Busy            bool
		Changed, Failed string
	}
	buffer := make([]byte, answerLimit)
	n, err := own.Read(buffer)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(buffer[:n], &answer); err != nil {
		return nil, fmt.Errorf("what it answers is not understood: %w", err)
	}
	w.heard(from, answer.PID > 0 && !answer.Busy)
	if answer.Changed != "" {
		return nil, &changedError{file: answer.Changed}
	}
	if answer.Failed != "" {
		return nil, fmt.Errorf("it cannot be forked: %s", answer.Failed)
	}
	// The fork waits for us: its number is its own.
	self, err := readProcess(answer.PID)
	if err != nil {
		return nil, err
	}
	pidfd, err := unix.PidfdOpen(answer.PID, 0)
	if err != nil {
		return nil, err
	}
	if _, err := own.Write([]byte("go")); err != nil {
		_ = unix.Close(pidfd)
		return nil, err
	}
	p := newProcess(r.Dir, identity{PID: self.pid, Start: self.start, Boot: boot})
	p.job = r.Job
	p.watch(pidfd, nil)
	return p, nil
}

func (w *warm) patienceWith(p *parent) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.settled {
		return w.patience
	}
	return w.importPatience
}

func (w *warm) heard(p *parent, settled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.answered = true
	p.settled = p.settled || settled
}

// socketPair returns two ends that keep messages apart.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a pair of sockets: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "theirs")
	file := os.NewFile(uintptr(fds[0]), "ours")
	conn, err := net.FileConn(file) // has a descriptor of its own
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}
