package fetch_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netlab-runner/internal/fetch"
)

// long is more than any fetch of these tests takes where it is not to run into its timeout.
const long = 2 * time.Minute

// server answers on an address of the loopback.
type server struct {
	t *testing.T
	// url has no path.
	url, port string
	// connections that were made to it.
	connections atomic.Int64
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serve answers with the handler.
func serve(t *testing.T, address string, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{t: t}
	l := listen(t, address)
	h := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	s.url = "http://" + l.Addr().String()
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	return s
}

// raw answers every connection with what f writes, once it has read the head of the request.
func raw(t *testing.T, f func(w net.Conn, gone <-chan struct{})) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					_, _ = conn.Read(make([]byte, 1))
				}()
				f(conn, gone)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// allowed lets 127.0.0.1 be reached, and no other address of the loopback.
func allowed() fetch.Config {
	return fetch.Config{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Timeout: long, Limit: 1 << 20}
}

// names resolves by a table.
func names(table map[string][]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, name string) ([]netip.Addr, error) {
		var all []netip.Addr
		for _, a := range table[name] {
			all = append(all, netip.MustParseAddr(a))
		}
		if all == nil {
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		return all, nil
	}
}

func wantText(t *testing.T, address string, c fetch.Config, want string) {
	t.Helper()
	got, err := fetch.Get(t.Context(), address, c)
	if err != nil || string(got) != want {
		t.Fatalf("%.200q, %v, want %.200q", got, err, want)
	}
}

// wantRefusal wants one of the URL with the words, and nothing of what stands behind '?' or '#'.
func wantRefusal(t *testing.T, address string, c fetch.Config, url, words string) {
	t.Helper()
	got, err := fetch.Get(t.Context(), address, c)
	var r *fetch.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%.200q, %v, want a refusal", got, err)
	}
	if r.URL != url || !strings.Contains(r.Text, words) || !strings.Contains(r.Text, ": ") {
		t.Fatalf("%+v, want one of %s with %q and a remedy", r, url, words)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 700 {
		t.Fatalf("%q", err.Error())
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Request]
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r)
		switch r.URL.Path {
		case "/utf8":
			_, _ = w.Write([]byte("\ufeffname: größe\n"))
		case "/chunked":
			_, _ = w.Write([]byte("a: "))
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("b\n"))
		case "/identity":
			w.Header().Set("Content-Encoding", "identity")
			_, _ = w.Write([]byte("a"))
		case "/limit":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		case "/here":
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b", Path: "/"})
			http.Redirect(w, r, "there/again?q=1#f", http.StatusFound)
		case "/there/again":
			w.Header().Set("Location", "/topology.yml?token=hunter2")
			w.WriteHeader(http.StatusPermanentRedirect)
		case "/empty":
		default:
			_, _ = w.Write([]byte("nodes: [ a ]\n"))
		}
	})
	c := allowed()
	c.Resolve = names(map[string][]string{"files.example": {"127.0.0.1"}, "two.example": {"::ffff:127.0.0.1", "127.0.0.1"}})
	for path, want := range map[string]string{
		"/topology.yml?token=hunter2#x": "nodes: [ a ]\n",
		"/utf8":                         "\ufeffname: größe\n",
		"/chunked":                      "a: b\n",
		"/identity":                     "a",
		"/limit":                        strings.Repeat("x", 1<<20),
		"/empty":                        "",
		"/here":                         "nodes: [ a ]\n",
		"":                              "nodes: [ a ]\n",
	} {
		wantText(t, s.url+path, c, want)
	}
	wantText(t, "http://files.example:"+s.port+"/x", c, "nodes: [ a ]\n")
	if host := seen.Load().Host; host != "files.example:"+s.port {
		t.Errorf("asked for host %s", host)
	}
	wantText(t, "http://two.example:"+s.port+"/x", c, "nodes: [ a ]\n")
	wantText(t, s.url+"/here", c, "nodes: [ a ]\n")
	r := seen.Load()
	for _, name := range []string{"Cookie", "Referer", "Authorization"} {
		if v := r.Header.Get(name); v != "" {
			t.Errorf("%s: %s is sent", name, v)
		}
	}
	if v := r.Header.Get("Accept-Encoding"); v != "identity" || r.Method != http.MethodGet || r.URL.RawQuery != "token=hunter2" {
		t.Errorf("%s %s, Accept-Encoding %q", r.Method, r.URL, v)
	}
}

func TestNoProxy(t *testing.T) {
	proxy := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("from the proxy")) })
	t.Setenv("HTTP_PROXY", proxy.url)
	t.Setenv("http_proxy", proxy.url)
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("straight")) })
	c := allowed()
	c.Resolve = names(map[string][]string{"files.example": {"127.0.0.1"}}) // no proxy is used for a literal 127.0.0.1
	wantText(t, "http://files.example:"+s.port+"/", c, "straight")
}

// TestAddresses are all that lead to 127.0.0.2, which nobody may reach.
func TestAddresses(t *testing.T) {
	t.Parallel()
	internal := serve(t, "127.0.0.2:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) })
	var target string
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
	})
	c := allowed()
	c.Resolve = names(map[string][]string{
		"inside.example": {"127.0.0.2"},
		"both.example":   {"127.0.0.1", "127.0.0.2"},
		"mapped.example": {"::ffff:127.0.0.2"},
		"scoped.example": {"fe80::1%lo"},
		"aton.example":   {"127.0.0.2"},
		"meta.example":   {"169.254.169.254"},
		"public.example": {"93.184.215.14", "10.0.0.1"},
		"0x7f.2":         {"127.0.0.2"}, // as a C library would say
	})
	const words = "internal address"
	for _, host := range []string{
		"127.0.0.2", "[::ffff:127.0.0.2]", "[::1]", "inside.example", "INSIDE.example.", "both.example", "mapped.example", "scoped.example",
		"meta.example", "public.example", "0x7f.2", "169.254.169.254", "10.0.0.1", "0.0.0.0", "[::]", "[fd00::1]", "[64:ff9b::7f00:2]",
	} {
		resolve := c.Resolve
		c := c
		c.Resolve = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return resolve(ctx, strings.TrimSuffix(strings.Replace(name, "INSIDE", "inside", 1), "."))
		}
		address := "http://" + host + ":" + internal.port + "/x"
		wantRefusal(t, address+"?token=hunter2", c, address, words)
		target = address
		wantRefusal(t, s.url+"/y?token=hunter2", c, address, words)
	}
	if n := internal.connections.Load(); n != 0 {
		t.Errorf("%d connections to what may not be reached", n)
	}
}

// TestRebinding looks a name up once: another address a moment later is not dialled.
func TestRebinding(t *testing.T) {
	t.Parallel()
	internal := serve(t, "127.0.0.2:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) })
	l := listen(t, "127.0.0.1:"+internal.port) // the same port on both
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("public")) })}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	var asked atomic.Int64
	c := allowed()
	c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	}
	wantText(t, "http://rebind.example:"+internal.port+"/", c, "public")
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	wantRefusal(t, "http://rebind.example:"+internal.port+"/", c, "http://rebind.example:"+internal.port+"/", "internal address")
	if n := internal.connections.Load(); n != 0 {
		t.Errorf("%d connections to what may not be reached", n)
	}
}

func TestSecondAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.3:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) })
	c := allowed()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.Resolve = names(map[string][]string{"two.example": {"127.0.0.4", "127.0.0.3"}})
	wantText(t, "http://two.example:"+s.port+"/", c, "x")
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var target atomic.Value
	var code atomic.Int64
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := strings.CutPrefix(r.URL.Path, "/hops/"); ok {
			hops := 0
			_, _ = fmt.Sscan(n, &hops)
			if hops == 0 {
				_, _ = w.Write([]byte("arrived"))
				return
			}
			http.Redirect(w, r, fmt.Sprintf("/hops/%d", hops-1), http.StatusMovedPermanently)
			return
		}
		if t, _ := target.Load().(string); t != "" {
			w.Header().Set("Location", t)
		}
		w.WriteHeader(int(code.Load()))
	})
	from := s.url + "/from"
	for _, test := range []struct{ to, url, words string }{
		{"file:///etc/passwd", from, "redirects to file:///etc/passwd is neither http nor https"},
		{"ftp://127.0.0.1/x", from, "neither http nor https"},
		{"gopher://127.0.0.1/x", from, "neither http nor https"},
		{"javascript:alert(1)", from, "neither http nor https"},
		{"http://user:hunter2@127.0.0.1/", from, "has a user or password in it"},
		{"//user@127.0.0.1/", from, "has a user or password in it"},
		{"http:///x", from, "names no host"},
		{"http://127.0.0.1:0/x", from, "port"},
		{"http://127.0.0.1:99999/x", from, "port"},
		{"http://[::1", from, "not a URL"},
		{"%zz", from, "not a URL"},
		{"/" + strings.Repeat("x", 3000), from, "longer than 2048 bytes"},
		{"", from, "redirects to nowhere"},
		{"/from?token=hunter2", from, "redirects once more after 5 redirects"},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			target.Store(test.to)
			code.Store(int64(status))
			wantRefusal(t, from+"?token=hunter2", allowed(), test.url, test.words)
		}
	}
	wantText(t, s.url+"/hops/5", allowed(), "arrived")
	wantRefusal(t, s.url+"/hops/6", allowed(), s.url+"/hops/1", "after 5 redirects")
	none := allowed()
	none.Redirects = -1
	wantText(t, s.url+"/hops/0", none, "arrived")
	wantRefusal(t, s.url+"/hops/1", none, s.url+"/hops/1", "after 0 redirects")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	var code atomic.Int64
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(code.Load()))
		_, _ = w.Write([]byte("nodes: [ a ]\n"))
	})
	for _, status := range []int{201, 202, 203, 204, 206, 300, 304, 305, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503, 599} {
		code.Store(int64(status))
		wantRefusal(t, s.url+"/x", allowed(), s.url+"/x", fmt.Sprintf("answers with status %d", status))
	}
}

// TestHostileServers has what no decent server sends.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	say := func(text string) func(net.Conn, <-chan struct{}) {
		return func(w net.Conn, _ <-chan struct{}) { _, _ = w.Write([]byte(text)) }
	}
	// drip writes first and then one more piece after the other, until the client is gone.
	drip := func(first, more string) func(net.Conn, <-chan struct{}) {
		return func(w net.Conn, gone <-chan struct{}) {
			_, _ = w.Write([]byte(first))
			for {
				select {
				case <-gone:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if _, err := w.Write([]byte(more)); err != nil {
					return
				}
			}
		}
	}
	// flood writes without end.
	flood := func(first, more string) func(net.Conn, <-chan struct{}) {
		return func(w net.Conn, _ <-chan struct{}) {
			_, err := w.Write([]byte(first))
			for err == nil {
				_, err = w.Write([]byte(more))
			}
		}
	}
	var zipped bytes.Buffer
	bomb := gzip.NewWriter(&zipped)
	_, _ = bomb.Write(make([]byte, 8<<20))
	_ = bomb.Close()
	const ok = "HTTP/1.1 200 OK\r\n"
	const whole = "nodes: [ a ]\n"
	for _, test := range []struct {
		name  string
		serve func(net.Conn, <-chan struct{})
		// slow ends by the timeout, which is then short.
		slow  bool
		words string // "" for the text
	}{
		{"whole", say(ok + "Content-Length: 13\r\n\r\n" + whole), false, ""},
		{"more than it says", say(ok + "Content-Length: 13\r\n\r\n" + whole + "more"), false, ""},
		{"until it closes", say(ok + "\r\n" + whole), false, ""},
		{"nothing", say(""), false, "breaks off"},
		{"half a head", say(ok + "Content-Length: 13\r\n"), false, "breaks off"},
		{"less than it says", say(ok + "Content-Length: 14\r\n\r\n" + whole), false, "breaks off"},
		{"half a chunk", say(ok + "Transfer-Encoding: chunked\r\n\r\nd\r\nnodes"), false, "breaks off"},
		{"no last chunk", say(ok + "Transfer-Encoding: chunked\r\n\r\nd\r\n" + whole + "\r\n"), false, "breaks off"},
		{"two lengths", say(ok + "Content-Length: 13\r\nContent-Length: 5\r\n\r\n" + whole), false, "cannot be fetched"},
		{"a negative length", say(ok + "Content-Length: -13\r\n\r\n" + whole), false, "cannot be fetched"},
		{"a length of no number", say(ok + "Content-Length: 1e3\r\n\r\n" + whole), false, "cannot be fetched"},
		{"a large length", say(ok + "Content-Length: 1048577\r\n\r\n" + whole), false, "larger than 1048576 bytes"},
		{"an enormous length", say(ok + "Content-Length: 9223372036854775807\r\n\r\n" + whole), false, "larger than 1048576 bytes"},
		{"a length beyond numbers", say(ok + "Content-Length: 99999999999999999999999\r\n\r\n" + whole), false, "cannot be fetched"},
		{"not HTTP", say("220 mail\x1b[2J\r\n220 hello"), false, "cannot be fetched"},
		{"a status of no number", say("HTTP/1.1 abc OK\r\n\r\n"), false, "cannot be fetched"},
		{"HTTP/2", say("HTTP/2.0 200 OK\r\n\r\n" + whole), false, ""},
		{"switching protocols", say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + whole), false, "status 101"},
		{"text in the status", say("HTTP/1.1 404 \x1b[2J hunter2\r\n\r\n"), false, "status 404 Not Found"},
		{"a large head", say(ok + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 100) + "\r\n" + whole), false, "cannot be fetched"},
		{"endless head", flood(ok, "X-A: "+strings.Repeat("a", 1000)+"\r\n"), false, "cannot be fetched"},
		{"an endless line", flood(ok+"X-A: ", strings.Repeat("a", 1000)), false, "cannot be fetched"},
		{"endless interim answers", flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"), false, "cannot be fetched"},
		{"endless body", flood(ok+"\r\n", strings.Repeat("a", 1000)), false, "larger than 1048576 bytes"},
		{"endless chunks", flood(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\naaaa\r\n"), false, "larger than 1048576 bytes"},
		{"an enormous chunk", flood(ok+"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n", "aaaa"), false, "larger than 1048576 bytes"},
		{"gzip", say(ok + "Content-Encoding: gzip\r\n\r\n" + zipped.String()), false, "compressed"},
		{"gzip named second", say(ok + "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n" + zipped.String()), false, "compressed"},
		{"gzip unsaid", say(ok + "\r\n" + zipped.String()), false, "not UTF-8 text"},
		{"gzip in transfer", say(ok + "Transfer-Encoding: gzip, chunked\r\n\r\n" + zipped.String()), false, "cannot be fetched"},
		{"NUL", say(ok + "\r\na\x00b"), false, "not UTF-8 text"},
		{"Latin-1", say(ok + "\r\ngr\xf6\xdfe"), false, "not UTF-8 text"},
		{"UTF-16", say(ok + "\r\n\xff\xfea\x00b\x00"), false, "not UTF-8 text"},
		{"half a rune", say(ok + "\r\ngr\xc3"), false, "not UTF-8 text"},
		{"no answer", func(_ net.Conn, gone <-chan struct{}) { <-gone }, true, "within 300ms"},
		{"slow head", drip("HTTP/1.1 ", "2"), true, "within 300ms"},
		{"slow headers", drip(ok, "X-A: b\r\n"), true, "within 300ms"},
		{"slow body", drip(ok+"\r\n", "a"), true, "within 300ms"},
		{"slow chunks", drip(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"), true, "within 300ms"},
		{"slow end", func(w net.Conn, gone <-chan struct{}) {
			_, _ = w.Write([]byte(ok + "Transfer-Encoding: chunked\r\n\r\nd\r\n" + whole))
			<-gone
		}, true, "within 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address := raw(t, test.serve) + "/x"
			c := allowed()
			if test.slow {
				c.Timeout = 300 * time.Millisecond
			}
			if test.words == "" {
				wantText(t, address+"?token=hunter2", c, whole)
				return
			}
			wantRefusal(t, address+"?token=hunter2", c, address, test.words)
		})
	}
}

// TestSlowRedirects has one timeout for all of them.
func TestSlowRedirects(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	s := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(100 * time.Millisecond):
			http.Redirect(w, r, fmt.Sprintf("/%d", n.Add(1)), http.StatusFound)
		}
	})
	c := allowed()
	c.Timeout, c.Redirects = 500*time.Millisecond, 1_000_000
	_, err := fetch.Get(t.Context(), s.url+"/x", c)
	var r *fetch.Refusal
	if !errors.As(err, &r) || !strings.Contains(r.Text, "within 500ms") {
		t.Fatal(err)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	address := "http://" + l.Addr().String() + "/x"
	_ = l.Close()
	wantRefusal(t, address+"?token=hunter2", allowed(), address, "connection refused")
	c := allowed()
	c.Resolve = names(nil)
	wantRefusal(t, "http://nowhere.example/x", c, "http://nowhere.example/x", "does not exist")
	c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "server misbehaving", Name: "x", IsTemporary: true}
	}
	wantRefusal(t, "http://nowhere.example/x", c, "http://nowhere.example/x", "could not be looked up")
	c.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	wantRefusal(t, "http://nowhere.example/x", c, "http://nowhere.example/x", "does not exist")
	c.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.Timeout = 100 * time.Millisecond
	wantRefusal(t, "http://nowhere.example/x", c, "http://nowhere.example/x", "within 100ms")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	wantRefusal(t, s.URL+"/x?token=hunter2", allowed(), s.URL+"/x", "certificate that this host does not trust")
	plain := serve(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {})
	address := strings.Replace(plain.url, "http:", "https:", 1) + "/x"
	wantRefusal(t, address, allowed(), address, "cannot be fetched")
	address = "https://" + listen(t, "127.0.0.1:0").Addr().String() + "/x" // whose connections nobody accepts
	c := allowed()
	c.Timeout = 300 * time.Millisecond
	wantRefusal(t, address, c, address, "within 300ms")
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for address, words := range map[string]string{
		"":                             "neither http nor https",
		"topology.yml":                 "neither http nor https",
		"file:///etc/passwd":           "neither http nor https",
		"ftp://127.0.0.1/x":            "neither http nor https",
		"http://":                      "names no host",
		"http:127.0.0.1":               "names no host",
		"http://u:hunter2@127.0.0.1/x": "user or password",
		"http://127.0.0.1:70000/":      "port",
		"http://127.0.0.1:x/":          "not a URL",
		"http://a\nb/":                 "not a URL",
		"http://a/\u009b":              "not a URL",
		"://":                          "not a URL",
		"http://127.0.0.1/" + strings.Repeat("x", 2048): "longer than 2048 bytes",
	} {
		_, err := fetch.Get(t.Context(), address, allowed())
		var r *fetch.Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Text, words) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.100q: %v, want %q", address, err, words)
		}
	}
}

// TestCanceled gives the context's own error, which is nobody's fault.
func TestCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	address := raw(t, func(_ net.Conn, gone <-chan struct{}) {
		cancel()
		<-gone
	})
	_, err := fetch.Get(ctx, address, allowed())
	var r *fetch.Refusal
	if !errors.Is(err, context.Canceled) || errors.As(err, &r) {
		t.Fatal(err)
	}
}
