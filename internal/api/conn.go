package api

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sys/unix"
)

const (
	// writePiece is what a client has to take within one write timeout.
	writePiece = 64 << 10
	// unsent bounds what of an answer waits in the socket. Without a bound the system takes megabytes, and does not wake a
	// writer before a third of them is gone: a reader of a few KiB a second would look like one that has stopped.
	unsent = 128 << 10
	// A connection on which a request was refused unread is drained before it is closed, within these bounds.
	lingerTime  = 2 * time.Second
	lingerBytes = 64 << 20
	// acceptPause is how long connections are let wait when no more files may be opened, twice as long each time it fails again, and at
	// most acceptPauseMost.
	acceptPause     = 5 * time.Millisecond
	acceptPauseMost = time.Second
	// refusedTime is how long a connection that is one too many may take for its request.
	refusedTime = 5 * time.Second
)

// listener gives out connections that bound each single write, and bounds their number.
type listener struct {
	net.Listener
	stall time.Duration
	limit *connLimit
	// tls is nil for plain HTTP.
	tls *tls.Config
	log *slog.Logger

	closed  sync.Once
	failure error
}

// Close closes the listener once: a Shutdown does it, and so does the server below.
func (l *listener) Close() error {
	l.closed.Do(func() { l.failure = l.Listener.Close() })
	return l.failure
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for pause := acceptPause; ; {
		c, err := l.Listener.Accept()
		if err != nil && outOfMeans(err) {
			l.log.Error("http: connections wait", "error", err, "remedy", remedyOf(err))
			time.Sleep(pause)
			pause = min(2*pause, acceptPauseMost)
			continue
		}
		if err != nil {
			return nil, err
		}
		pause = acceptPause
		release, refusal, ok := l.limit.take(c.RemoteAddr())
		if !ok {
			_ = c.Close() // it is not to be served
			continue
		}
		own := &conn{Conn: c, stall: l.stall, release: release, refused: refusal != "", refusal: refusal, opened: time.Now()}
		own.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
		own.plain = l.tls == nil
		if l.tls != nil {
			return &tlsConn{Conn: tls.Server(own, l.tls), own: own}, nil
		}
		return own, nil
	}
}

// outOfMeans says whether a connection could not be taken for want of what may be there again. Fiber's server would end by it.
func outOfMeans(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) ||
		errors.Is(err, unix.ECONNABORTED)
}

// remedyOf is what helps against one of these errors.
func remedyOf(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE):
		return "let the program open more files: LimitNOFILE= in its unit, ulimit -n in a shell"
	case errors.Is(err, unix.ENFILE):
		return "let the machine open more files: sysctl fs.file-max"
	default:
		return "it passes by itself, unless the machine has too little memory"
	}
}

// conn is the connection of a client. A write fails when the client takes none of it for the time of stall. The server's own
// write timeout counts for the whole of an answer and would end every stream; without any, a client that stops reading holds
// its goroutine for ever.
type conn struct {
	net.Conn
	stall time.Duration
	// until is the write deadline, in nanoseconds since opened.
	until atomic.Int64
	// reading is the read deadline, and the one that is set below, which may be an earlier one.
	reading struct {
		sync.Mutex
		until, set time.Time
	}
	lingering atomic.Bool
	// late is how much of what came before the read deadline is still to be read behind it, once that was looked for.
	late   atomic.Int64
	looked atomic.Bool
	// plain is a connection on which nothing but HTTP is understood, until its first bytes have come.
	plain bool

	// refused says that the connection is one too many, refusal why: it gets this one answer.
	refused bool
	refusal string
	opened  time.Time
	// release gives back its place.
	release func()
	closed  sync.Once
}

// SetReadDeadline is as of any connection. One that is refused has little time to hear that it is.
//
// Where an earlier deadline is set below it stays there, and a read that it ends goes on up to this one: to set the two of each request is
// 4 % of what a small answer costs.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.looked.Store(false)
	if c.refused {
		if last := c.opened.Add(refusedTime); t.IsZero() || t.After(last) {
			t = last
		}
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	c.reading.until = t
	if set := c.reading.set; !set.IsZero() && (t.IsZero() || !t.Before(set)) {
		return nil
	}
	return c.setRead(t)
}

// setRead sets the read deadline below. The lock of reading is held.
func (c *conn) setRead(t time.Time) error {
	c.reading.set = t
	return c.Conn.SetReadDeadline(t)
}

// hasTime says whether the deadline that has ended a read was only the one below, and sets the other there.
func (c *conn) hasTime() bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	until := c.reading.until
	if until.Equal(c.reading.set) || (!until.IsZero() && time.Until(until) <= 0) {
		return false
	}
	return c.setRead(until) == nil
}

// SetWriteDeadline is as of any connection.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.until.Store(int64(t.Sub(c.opened)))
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline is as of any connection. The server below takes both deadlines away from one that it gives out of its hands.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

// tlsRecord is the first byte of a client that speaks TLS. No request begins with it.
const tlsRecord = 0x16

// Read is as of any connection. One that speaks TLS to a plain port is ended: the server below would wait for the end of a line.
//
// What is there when the deadline is found to be over is read all the same: of a process that was stopped meanwhile, all deadlines are
// over when it goes on, and a request that has come would be answered with a connection that is broken off.
func (c *conn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	for errors.Is(err, os.ErrDeadlineExceeded) && c.hasTime() {
		n, err = c.Conn.Read(p)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if late := c.readLate(p); late > 0 {
			n, err = late, nil
		}
	}
	if c.plain && n > 0 {
		c.plain = false
		if p[0] == tlsRecord {
			return 0, io.EOF
		}
	}
	return n, err
}

// Write is as of any connection.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(n+writePiece, len(p))]
		if err := c.extend(time.Now()); err != nil {
			return n, err
		}
		written, err := c.Conn.Write(piece)
		n += written
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// extend gives the client the time of stall from now on, or less by an eighth of it at most: to set a deadline for each write is 2 % of
// what a small answer costs.
func (c *conn) extend(now time.Time) error {
	if time.Duration(c.until.Load()) > now.Sub(c.opened)+c.stall-c.stall/8 {
		return nil
	}
	return c.SetWriteDeadline(now.Add(c.stall))
}

// readLate reads of what was there at the first look behind the deadline, and waits for nothing.
func (c *conn) readLate(p []byte) (n int) {
	c.control(func(fd int) error {
		if !c.looked.Swap(true) {
			there, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			if err != nil {
				return err
			}
			c.late.Store(int64(there))
		}
		read, err := unix.Read(fd, p[:min(int64(len(p)), c.late.Load())])
		n = max(read, 0)
		c.late.Add(-int64(n))
		return err
	})
	return n
}

// gone says whether the client has closed its end. It reads nothing: what a client sends ahead stays where it is.
func (c *conn) gone() bool {
	closed := false
	usable := c.control(func(fd int) error {
		state := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(state, 0)
		closed = n > 0
		return err
	})
	return closed || !usable
}

// control calls f with the socket, and says whether the connection still has one.
func (c *conn) control(f func(fd int) error) (usable bool) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return true // no socket from the start
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { err = f(int(fd)) }) == nil && !errors.Is(err, unix.EBADF)
}

// linger makes Close wait for what the client still sends. To close a socket with unread bytes resets the connection, and the
// client may lose the answer that says why.
func (c *conn) linger() { c.lingering.Store(true) }

// reset makes Close break the connection off, so that a client does not take what it has for the whole.
func (c *conn) reset() {
	c.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.closed.Do(c.release)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.lingering.Load() {
		if half.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, c, lingerBytes) // however it ends, the connection is closed
		}
	}
	return c.Conn.Close()
}

// connOf returns the connection of a request, nil where it is not one of ours.
func connOf(c *fiber.Ctx) *conn { return ownConn(c.Context().Conn()) }

func ownConn(nc net.Conn) *conn {
	switch nc := nc.(type) {
	case *tlsConn:
		return nc.own
	case *conn:
		return nc
	default:
		return nil
	}
}
