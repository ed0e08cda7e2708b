package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A slow client may send a large body, as long as it goes on; one that stops is told.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.ReadTimeout, c.BodyLimit = 2*time.Second, 8<<20 })
	b.online(hostNamed("a"))
	body := `{"workdir":"/home/lab/one","unheard":"` + strings.Repeat("x", 4<<20) + `"}`
	head := fmt.Sprintf("POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(body))
	conn := b.connect()
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTicker(600 * time.Millisecond)
	defer pause.Stop()
	for rest := body; rest != ""; { // for more than twice the timeout
		n := min(len(rest), 512<<10)
		if _, err := io.WriteString(conn, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		<-pause.C
	}
	if got := readReply(t, bufio.NewReader(conn)); got.status != http.StatusAccepted {
		t.Errorf("%d %s", got.status, got.body)
	}
	for name, sent := range map[string]string{
		"nothing":              "",
		"half a request line":  "GET /jo",
		"half of the headers":  "GET /jobs HTTP/1.1\r\nHost: a\r\n",
		"no body":              head,
		"a little of the body": head + body[:100],
		"more of the body":     head + body[:20<<10],
		"most of the body":     head + body[:3<<20],
		"a chunk":              "POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
		"half a chunk":         "POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n{}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			conn := b.connect()
			got := raw(t, conn, sent)
			b.isError(got, http.StatusRequestTimeout, "NETLAB_API_READ_TIMEOUT")
		})
	}
}

// Bodies that arrive at once have a bounded room in memory, which only those take that may use the API.
func TestBodyMemory(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.Token, c.BodyLimit, c.BundleLimit, c.BodyMemory, c.ReadTimeout, c.RoomTimeout = "token", 1<<20, 1<<20, 4<<20, 30*time.Second, 100*time.Millisecond
	})
	b.online(hostNamed("a"))
	size := 1 << 20
	begin := func(token string, sent int) net.Conn {
		conn := b.connect()
		if _, err := fmt.Fprintf(conn, "POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", token, size, strings.Repeat(" ", sent)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for range 4 { // these take no room
		begin("other", size/2)
	}
	held := []net.Conn{begin("token", size/2), begin("token", size/2)}
	b.eventually("two bodies to fill the room", func() bool {
		free := b.api.bodies.TryAcquire(1)
		if free {
			b.api.bodies.Release(1)
		}
		return !free
	})
	large := `{"workdir":"/home/lab/one","unheard":"` + strings.Repeat("x", 100<<10) + `"}`
	b.isError(b.do(http.MethodPost, "/jobs", large, "Authorization: Bearer token"), http.StatusServiceUnavailable, "NETLAB_API_BODY_MEMORY")
	// Who sends no more of it for now hears that at once, too.
	b.isError(readReply(t, bufio.NewReader(begin("token", freeBody+9))), http.StatusServiceUnavailable, "NETLAB_API_BODY_MEMORY")
	b.isError(readReply(t, bufio.NewReader(begin("other", smallBody))), http.StatusUnauthorized, "unauthorized")
	if got := b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`, "Authorization: Bearer token"); got.status != http.StatusAccepted {
		t.Errorf("a small body: %d %s", got.status, got.body)
	}
	// The room is free again when a body is whole, and when its client is gone.
	_ = held[0].Close()
	if _, err := io.WriteString(held[1], strings.Repeat(" ", size/2)); err != nil {
		t.Fatal(err)
	}
	b.isError(readReply(t, bufio.NewReader(held[1])), http.StatusBadRequest, "body: is empty")
	if got := b.do(http.MethodPost, "/jobs", large, "Authorization: Bearer token"); got.status != http.StatusAccepted {
		t.Errorf("with room again: %d %s", got.status, got.body)
	}
	b.eventually("all room to be free", func() bool {
		free := b.api.bodies.TryAcquire(4 << 20)
		if free {
			b.api.bodies.Release(4 << 20)
		}
		return free
	})
}

func TestConnections(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		total, each int
		word        string
	}{
		"of all":        {3, 3, "(NETLAB_API_CONNECTIONS)"},
		"of one client": {30, 3, "(NETLAB_API_CLIENT_CONNECTIONS)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *Config) { c.Connections, c.ClientConnections, c.Prefix = test.total, test.each, "/lab" })
			b.client.CloseIdleConnections()
			const request = "GET /lab/hosts HTTP/1.1\r\nHost: a\r\n\r\n"
			var conns []net.Conn
			for range 3 {
				conns = append(conns, b.connect())
				b.is(raw(t, conns[len(conns)-1], request), http.StatusOK, `{"hosts":[]}`)
			}
			for range 2 {
				conn := b.connect()
				got := raw(t, conn, request)
				b.isError(got, http.StatusServiceUnavailable, test.word)
				if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
					t.Errorf("the connection goes on with %q, %v", rest, err)
				}
			}
			for _, path := range []string{"/healthz", "/lab/healthz"} {
				spare := b.connect()
				b.is(raw(t, spare, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"), http.StatusOK, `{"status":"ok"}`)
				if rest, err := io.ReadAll(spare); err != nil || len(rest) > 0 {
					t.Errorf("a spare connection goes on with %q, %v", rest, err)
				}
			}
			b.is(raw(t, conns[0], request), http.StatusOK, `{"hosts":[]}`)
			_ = conns[1].Close()
			b.eventually("room for one more", func() bool {
				conn := b.connect()
				defer conn.Close()
				return raw(t, conn, request).status == http.StatusOK
			})
			// Those that are told so are few, too.
			var more []net.Conn
			for range spareConnections + 3 {
				more = append(more, b.connect())
			}
			last := more[len(more)-1]
			if _, err := io.ReadAll(last); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("one that is far too many: %v", err)
			}
		})
	}
}

func TestClientsOfConnections(t *testing.T) {
	t.Parallel()
	got := map[string]netip.Prefix{}
	for _, ip := range []string{"10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::1"} {
		got[ip] = clientOf(&net.TCPAddr{IP: net.ParseIP(ip), Port: 7})
	}
	want := map[string]netip.Prefix{}
	for ip, prefix := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.0.0.2": "10.0.0.2/32", "::ffff:10.0.0.1": "10.0.0.1/32",
		"2001:db8::1": "2001:db8::/64", "2001:db8::2": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "::1": "::1/128",
	} {
		want[ip] = netip.MustParsePrefix(prefix)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
