package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

var (
	// errIdle is a heartbeat's time without a new byte.
	errIdle = errors.New("nothing new")
	// errGone is a client that has closed its connection.
	errGone = errors.New("the client is gone")
	// errShort is the end of a log that is not whole.
	errShort = errors.New("the log is incomplete")
)

// follower waits for a log on behalf of one client. Nothing of it belongs to the request, which is over when it is used.
type follower struct {
	log *logfile.Log
	// job is asked for when the log is finished.
	job       func() (view.Shown, error)
	conn      *conn
	running   context.Context
	heartbeat time.Duration
	// offset is where the next byte for the client is.
	offset int64
	// idle tells of a heartbeat's time, nil until the first wait.
	idle *time.Timer
}

// wait returns when the log has more than size bytes or is finished. errIdle: nothing came for a heartbeat's time. errGone,
// errStopping: nothing is to be waited for any more.
func (f *follower) wait(size int64) (have int64, finished bool, err error) {
	if have := f.log.Size(); have > size {
		return have, false, nil
	}
	if f.idle == nil {
		f.idle = time.NewTimer(f.heartbeat)
	} else {
		f.idle.Reset(f.heartbeat)
	}
	have, finished, err = f.log.Wait(f.running, size, f.idle.C)
	switch {
	case err != nil || finished || have > size:
		return have, finished, err
	case f.conn != nil && f.conn.gone():
		return have, false, errGone
	default:
		return have, false, errIdle
	}
}

// end returns the state of the job whose log is finished. errShort: the log ends before its end, since the bus has lost the rest, or
// the job was let go meanwhile: the client finds out when it comes back.
func (f *follower) end() (jobs.State, error) {
	job, err := f.job()
	if err != nil || !job.State.Terminal() || f.offset < job.LogBytes {
		return "", errShort
	}
	return job.State, nil
}

// textStream is the text of a log until the job ends. When it cannot be read to its end, its Read fails, and the connection
// is closed in the middle of the answer: a client can tell it from a log that is whole.
type textStream struct{ follower }

func (t *textStream) await() error {
	for {
		have, finished, err := t.wait(t.offset)
		switch {
		case have > t.offset:
			return nil
		case finished:
			if _, err := t.end(); err != nil {
				return err
			}
			return io.EOF
		case err != nil && !errors.Is(err, errIdle):
			return err
		}
	}
}

// Read is as of any source.
func (t *textStream) Read(p []byte) (int, error) {
	for {
		if err := t.await(); err != nil {
			return 0, err
		}
		n, err := t.log.ReadAt(p, t.offset)
		t.offset += int64(n)
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, io.EOF) { // else the file has lost something meanwhile, which is to come again
			return 0, err
		}
	}
}

// eventStream is a log as Server-Sent Events: "log" with a JSON string and the offset behind it as the id, and at last "end"
// with the job's state.
type eventStream struct {
	follower

	ready []byte // made and not read yet
	ended bool
}

// eventSize bounds what of a log is in one event, in bytes: an event is a line, and clients bound those.
const eventSize = 8 << 10

// await makes the next event. The stream ends without an event "end" when the server shuts down, the log is removed, or the bus has lost
// the rest of it: the client comes back with the last id it has, and is told.
func (e *eventStream) await() error {
	for len(e.ready) == 0 {
		if e.ended {
			return io.EOF
		}
		switch err := e.next(); {
		case errors.Is(err, errStopping), errors.Is(err, logfile.ErrRemoved), errors.Is(err, logfile.ErrClosed):
			return io.EOF
		case err != nil:
			return err
		}
	}
	return nil
}

// Read is as of any source.
func (e *eventStream) Read(p []byte) (n int, err error) {
	if err := e.await(); err != nil {
		return 0, err
	}
	n, e.ready = takeReady(p, e.ready)
	return n, nil
}

// next makes the next event, or none where the log has to be looked at again.
func (e *eventStream) next() error {
	text := make([]byte, max(min(e.log.Size()-e.offset, eventSize), 0))
	block, n, err := readWhole(e.log, text, e.offset)
	if err != nil {
		return err
	}
	if len(block) > 0 {
		return e.event(block)
	}
	// The log ends here, or in a rune of whose bytes n are there.
	seen := e.offset + int64(n)
	have, finished, err := e.wait(seen)
	switch {
	case have > seen:
		return nil
	case errors.Is(err, errIdle):
		e.ready = []byte(":\n\n")
		return nil
	case err != nil || !finished:
		return err
	case n > 0: // a damaged file: its rest is not to come
		return e.event(text[:n])
	default:
		return e.last()
	}
}

func (e *eventStream) event(block []byte) error {
	text, err := encode(string(block)) // one line, with its end
	if err != nil {
		return err
	}
	e.offset += int64(len(block))
	e.ready = fmt.Appendf(nil, "event: log\nid: %d\ndata: %s\n", e.offset, text)
	return nil
}

// last makes the event "end".
func (e *eventStream) last() error {
	e.ended = true
	state, err := e.end()
	if err != nil {
		return nil //nolint:nilerr // it ends without
	}
	e.ready = fmt.Appendf(nil, "event: end\ndata: {\"state\":%q}\n\n", state)
	return nil
}
