package api

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idle waits until no request is under way.
func (b *testBundle) idle() {
	b.t.Helper()
	b.client.CloseIdleConnections() // a connection counts as long as it is open
	b.eventually("the end of every stream", func() bool { return b.api.app.Server().GetCurrentConcurrency() == 0 })
}

func TestHeartbeatsAndClientsThatLeave(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	b.online(hostNamed("a"))
	p := b.running()
	p.write("line\n")
	p.shown()
	path := "/jobs/" + p.ID + "/log"

	resp := b.open(path, "Accept: text/event-stream")
	stream := newEvents(resp)
	if got := stream.next(t); got != "event: log\nid: 5\ndata: \"line\\n\"" {
		t.Errorf("got %q", got)
	}
	for range 3 {
		if got := stream.next(t); got != ":" {
			t.Errorf("got %q, want a heartbeat", got)
		}
	}
	resp.close()
	b.idle()

	// In a text there is no heartbeat, and a client that has left is missed all the same, what it sent ahead or not.
	for _, more := range []string{"", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"} {
		conn := b.connect()
		resp := rawStream(t, conn, "GET "+path+"?follow HTTP/1.1\r\nHost: a\r\n\r\n"+more)
		buffer := make([]byte, 64)
		if n, err := resp.body.Read(buffer); err != nil || string(buffer[:n]) != "line\n" {
			t.Fatalf("%q, %v", buffer[:n], err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := resp.body.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %q, %v while nothing was written", buffer[:n], err)
		}
		if n := b.api.app.Server().GetCurrentConcurrency(); n != 1 {
			t.Errorf("%d streams while the client is there", n)
		}
		_ = conn.Close()
		b.idle()
	}
}

// The body of an answer that a client does not read must not hold its goroutine for ever, be it a stream or not.
func TestStalledReadersAreCut(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	b.online(hostNamed("a"))
	p := b.running()
	for range 160 { // more than the buffers of the system take
		p.write(strings.Repeat("x", 63) + "\n" + strings.Repeat("y", 63<<10))
	}
	p.shown()
	for name, header := range map[string]string{"text": "text/plain", "events": "text/event-stream", "JSON": "application/json"} {
		conn := b.connect()
		if err := conn.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
			t.Fatal(err)
		}
		resp := rawStream(t, conn, "GET /jobs/"+p.ID+"/log HTTP/1.1\r\nHost: a\r\nAccept: "+header+"\r\n\r\n")
		if resp.status != http.StatusOK {
			t.Fatalf("%s: %d", name, resp.status)
		}
		b.idle()
		if n, err := io.Copy(io.Discard, resp.body); err == nil {
			t.Errorf("%s: an answer of %d bytes that was cut looks whole", name, n)
		}
		if n := len(b.api.blocks.room); n > 0 {
			t.Errorf("%s: %d blocks are still taken", name, n)
		}
	}
}

// A reader that is slow and yet reads is served as long as it takes.
func TestSlowReadersAreServed(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.WriteTimeout = 2500 * time.Millisecond })
	b.online(hostNamed("a"))
	text := strings.Repeat("0123456789abcde\n", 6<<16)
	p := b.ended(text)
	conn := b.connect()
	if err := conn.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
	resp := rawStream(t, conn, "GET /jobs/"+p.ID+"/log?follow=true HTTP/1.1\r\nHost: a\r\n\r\n")
	pause := time.NewTicker(time.Second)
	defer pause.Stop()
	var got strings.Builder
	for range 8 { // for three times the timeout
		<-pause.C
		if _, err := io.CopyN(&got, resp.body, 512<<10); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(&got, resp.body); err != nil || got.String() != text {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(text), err)
	}
}

// What came before a deadline is read also behind it: of a process that was stopped meanwhile all deadlines are over. Who sends
// slowly wins nothing by that.
func TestWhatCameBeforeTheDeadlineIsRead(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := &conn{Conn: accepted, release: func() {}}
	defer server.Close()
	send := func(text string) {
		t.Helper()
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		server.control(func(fd int) error { // until it is there
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
			return err
		})
	}
	buffer := make([]byte, 100)
	for range 2 {
		one := strings.Repeat("1", 250) // more than one read takes
		send(one)
		if err := server.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		for got := ""; got != one; {
			n, err := server.Read(buffer)
			if got += string(buffer[:n]); err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			send("2") // too late
		}
		send("two")
		if n, err := server.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("once more: %q, %v", buffer[:n], err)
		}
		if err := server.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Read(buffer); err != nil || string(buffer[:n]) != "222two" {
			t.Errorf("with time: %q, %v", buffer[:n], err)
		}
	}
	if err := server.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of nothing: %q, %v", buffer[:n], err)
	}
}

// readDeadlines is a connection that knows what read deadlines it was given, in seconds from now, and 0 for none. Its reads end over a
// deadline as often as it is told, and have something then.
type readDeadlines struct {
	net.Conn
	now  time.Time
	set  []int
	over int
}

func (r *readDeadlines) SetReadDeadline(t time.Time) error {
	after := 0
	if !t.IsZero() {
		after = int(t.Sub(r.now) / time.Second)
	}
	r.set = append(r.set, after)
	return nil
}

func (r *readDeadlines) Read([]byte) (int, error) {
	if r.over--; r.over >= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return 1, nil
}

// A later read deadline is set when the one below is over, so that most are never set; each holds all the same.
func TestEachReadHasItsDeadline(t *testing.T) {
	t.Parallel()
	const none, past = 0, -1
	for _, r := range []struct {
		name    string
		refused bool
		until   []int // in seconds from now
		over    int   // how often the deadline below is over
		set     []int
		ends    bool
	}{
		{"those of a request", false, []int{50, 300, 51, 301}, 0, []int{50}, false},
		{"over below alone", false, []int{50, 300}, 1, []int{50, 300}, false},
		{"over below alone, and none behind it", false, []int{50, none}, 1, []int{50, none}, false},
		{"over", false, []int{50, 300}, 2, []int{50, 300}, true},
		{"both over, of a process that was stopped", false, []int{2 * past, past}, 1, []int{2 * past}, true},
		{"an earlier one", false, []int{300, 50, 20}, 0, []int{300, 50, 20}, false},
		{"an earlier one, over", false, []int{300, 50}, 1, []int{300, 50}, true},
		{"none, and then one", false, []int{none, 300}, 1, []int{none, 300}, true},
		{"of a client that is refused", true, []int{300, none}, 1, []int{5}, true},
	} {
		below := &readDeadlines{now: time.Now(), over: r.over}
		c := &conn{Conn: below, opened: below.now, refused: r.refused}
		for _, seconds := range r.until {
			until := below.now.Add(time.Duration(seconds) * time.Second)
			if seconds == none {
				until = time.Time{}
			}
			if err := c.SetReadDeadline(until); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := c.Read(make([]byte, 1)); (err != nil) != r.ends || (n == 0) != r.ends {
			t.Errorf("%s: read %d, %v", r.name, n, err)
		}
		if !slices.Equal(below.set, r.set) {
			t.Errorf("%s: set below %v, want %v", r.name, below.set, r.set)
		}
	}
}

// deadlines is a connection that knows its write deadline.
type deadlines struct {
	net.Conn
	write time.Time
	set   int
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write, d.set = t, d.set+1
	return nil
}

func (d *deadlines) SetReadDeadline(time.Time) error { return nil }

// A client has the time of stall for each write, or little less, also where somebody else has taken the deadline away meanwhile.
func TestEachWriteHasItsDeadline(t *testing.T) {
	t.Parallel()
	below := &deadlines{}
	opened := time.Now()
	c := &conn{Conn: below, stall: 8 * time.Minute, opened: opened}
	for _, w := range []struct {
		name   string
		before func() error
		after  time.Duration // since the connection was opened
		until  time.Duration
	}{
		{"the first", nil, 0, 8 * time.Minute},
		{"one soon after", nil, 59 * time.Second, 8 * time.Minute},
		{"one later", nil, time.Minute, 9 * time.Minute},
		{"one of a process that was stopped", nil, time.Hour, time.Hour + 8*time.Minute},
		{"one after both deadlines were taken away", func() error { return c.SetDeadline(time.Time{}) }, time.Hour + time.Second, time.Hour + 8*time.Minute + time.Second},
		{"one after the deadline was taken away", func() error { return c.SetWriteDeadline(time.Time{}) }, time.Hour + 2*time.Second, time.Hour + 8*time.Minute + 2*time.Second},
	} {
		if w.before != nil {
			if err := w.before(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.extend(opened.Add(w.after)); err != nil {
			t.Fatal(err)
		}
		if got := below.write.Sub(opened); got != w.until {
			t.Errorf("%s: until %s, want %s", w.name, got, w.until)
		}
	}
	if below.set != 7 {
		t.Errorf("the deadline was set %d times", below.set)
	}
}
