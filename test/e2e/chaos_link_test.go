package e2e_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// link is a way from one program to the bus that can be cut, stalled and slowed down. It takes connections on a port of its own
// and forwards them.
type link struct {
	listener net.Listener

	mu      sync.Mutex
	target  string
	cut     bool
	stalled bool
	delay   time.Duration
	changed chan struct{} // closed at each change
	pairs   map[*pair]bool
}

// pair is one connection through a link.
type pair struct {
	near, far net.Conn
	done      chan struct{}
	once      sync.Once
}

// piece is what has arrived at one end, and when it may leave at the other.
type piece struct {
	data []byte
	due  time.Time
}

// newLink makes a link that passes everything, once it is told where to.
func newLink(t *testing.T) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, changed: make(chan struct{}), pairs: map[*pair]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(func() { l.cut, l.stalled = true, false })
		l.breakOff()
	})
	go l.serve()
	return l
}

func (l *link) url() string { return "nats://" + l.listener.Addr().String() }

// set changes the link.
func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) leadTo(address string) { l.set(func() { l.target = address }) }

// breakUp resets every connection and each new one, until mend.
func (l *link) breakUp() {
	l.set(func() { l.cut = true })
	l.breakOff()
}

func (l *link) breakOff() {
	l.mu.Lock()
	pairs := l.pairs
	l.pairs = map[*pair]bool{}
	l.mu.Unlock()
	for p := range pairs {
		p.reset()
	}
}

// stall keeps what comes to itself, until mend, as a lost route does: nobody is told, and nothing is lost.
func (l *link) stall() { l.set(func() { l.stalled = true }) }

// slow delays everything in each direction, until mend.
func (l *link) slow(d time.Duration) { l.set(func() { l.delay = d }) }

func (l *link) mend() { l.set(func() { l.cut, l.stalled, l.delay = false, false, 0 }) }

func (l *link) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.connect(near)
	}
}

func (l *link) connect(near net.Conn) {
	p := &pair{near: near, done: make(chan struct{})}
	l.mu.Lock()
	cut := l.cut
	if !cut {
		l.pairs[p] = true
	}
	l.mu.Unlock()
	if cut {
		p.reset()
		return
	}
	if !l.passes(p) {
		return
	}
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	far, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		p.reset()
		return
	}
	l.mu.Lock()
	lives := l.pairs[p]
	if lives {
		p.far = far
	}
	l.mu.Unlock()
	if !lives { // broken off meanwhile
		_ = far.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pump(p, near, far) })
	both.Go(func() { l.pump(p, far, near) })
	both.Wait()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
	p.reset()
}

// passes waits while the link is stalled. false: the connection is at its end.
func (l *link) passes(p *pair) bool {
	for {
		l.mu.Lock()
		stalled, changed := l.stalled, l.changed
		l.mu.Unlock()
		if !stalled {
			return true
		}
		select {
		case <-changed:
		case <-p.done:
			return false
		}
	}
}

// pump forwards one direction until its end, and then ends both.
func (l *link) pump(p *pair, from, to net.Conn) {
	pieces := make(chan piece, 64)
	go func() {
		defer close(pieces)
		for {
			block := make([]byte, 32<<10)
			n, err := from.Read(block)
			l.mu.Lock()
			due := time.Now().Add(l.delay)
			l.mu.Unlock()
			select {
			case pieces <- piece{block[:n], due}:
			case <-p.done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range pieces {
		select {
		case <-time.After(time.Until(piece.due)):
		case <-p.done:
		}
		if !l.passes(p) {
			break
		}
		if _, err := to.Write(piece.data); err != nil {
			break
		}
	}
	p.end()
}

// end closes both connections.
func (p *pair) end() {
	p.once.Do(func() {
		close(p.done)
		_ = p.near.Close()
		if p.far != nil {
			_ = p.far.Close()
		}
	})
}

// reset breaks both connections off, so that what was on its way is lost.
func (p *pair) reset() {
	for _, c := range []net.Conn{p.near, p.far} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	p.end()
}

// What a fault is called is what it does to a connection.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	l := newLink(t)
	l.leadTo(server.Addr().String())
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	// echo sends a byte, and says within what time it came back, and with what error it did not.
	echo := func(c net.Conn, limit time.Duration) (time.Duration, error) {
		began := time.Now()
		if err := c.SetDeadline(began.Add(limit)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Write([]byte{'x'})
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return time.Since(began), err
	}
	const soon, long = 100 * time.Millisecond, 10 * time.Second
	first := dial()
	if _, err := echo(first, long); err != nil {
		t.Fatal(err)
	}
	l.slow(soon)
	if took, err := echo(first, long); err != nil || took < 2*soon {
		t.Errorf("slow: %s %v", took, err)
	}
	l.mend()
	l.stall()
	second := dial()
	for _, c := range []net.Conn{first, second} {
		if _, err := echo(c, soon); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("stalled: %v", err)
		}
	}
	l.mend()
	for _, c := range []net.Conn{first, second} {
		if _, err := echo(c, long); err != nil { // the byte that was kept
			t.Errorf("after a stall: %v", err)
		}
	}
	l.breakUp()
	if _, err := echo(first, long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cut: %v", err)
	}
	if c, err := net.Dial("tcp", l.listener.Addr().String()); err == nil { // else it was cut before it was there
		if _, err := echo(c, long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("new, and cut: %v", err)
		}
		_ = c.Close()
	}
	l.mend()
	if _, err := echo(dial(), long); err != nil {
		t.Errorf("mended: %v", err)
	}
}
