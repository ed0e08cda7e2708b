package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
)

func TestUnknownRoutesAndMethods(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, path := range []string{"/", "/nothing", "/jobs/a/b", "/jobs/a/log/b", "//jobs", "/Jobs", "/status/a/b", "/healthz/x", "/jobs/../jobs", "/%2e%2e"} {
		b.is(b.get(path), http.StatusNotFound, `{"error":"not found"}`)
	}
	for _, r := range []struct{ method, path, allow string }{
		{"DELETE", "/jobs", "GET, HEAD, POST"},
		{"PUT", "/jobs/a", "GET, HEAD"},
		{"POST", "/jobs/a/log", "GET, HEAD"},
		{"OPTIONS", "/status", "GET, HEAD"},
		{"POST", "/healthz", "GET, HEAD"},
		{"TRACE", "/hosts", "GET, HEAD"},
	} {
		got := b.do(r.method, r.path, "")
		b.isError(got, http.StatusMethodNotAllowed, "method "+r.method+" is not allowed here: use "+r.allow)
		if allow := got.header.Get("Allow"); allow != r.allow {
			t.Errorf("%s %s: Allow %q", r.method, r.path, allow)
		}
	}
	b.isError(b.do("BREW", "/jobs", ""), http.StatusBadRequest, "method")
}

// raw sends bytes on a connection and reads one answer.
func raw(t *testing.T, conn io.ReadWriter, text string) reply {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%v after %.60q", err, text)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func TestServerErrorsAreJSON(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.BodyLimit, c.ReadTimeout = 64<<10, time.Second })
	large := strings.Repeat("x", 8<<20)
	for name, test := range map[string]struct {
		request string
		status  int
		word    string
	}{
		"body too large":              {"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n" + large, 413, "body: has more than 65536 bytes"},
		"body too large, in chunks":   {"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n" + large + "\r\n0\r\n\r\n", 413, "body: has more than 65536 bytes"},
		"headers too large":           {"GET /jobs HTTP/1.1\r\nHost: a\r\nX-A: " + large[:1<<20] + "\r\n\r\n", 431, "headers have more than 16384 bytes"},
		"path too long":               {"GET /jobs/" + large[:1<<20] + " HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers have more than 16384 bytes"},
		"no request line":             {"nonsense\r\n\r\n", 400, "not valid HTTP/1.1"},
		"bad content length":          {"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -7\r\n\r\n", 400, "not valid HTTP/1.1"},
		"header line without a colon": {"GET /jobs HTTP/1.1\r\nAuthorization Basic c2VjcmV0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"request that does not end":   {"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{", 408, "did not arrive within 1s"},
		"array":                       {"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]", 400, "body: must be a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			got := raw(t, b.connect(), test.request)
			b.isError(got, test.status, test.word)
			if got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no nosniff")
			}
			if strings.Contains(got.body, "c2VjcmV0") {
				t.Errorf("credentials in %s", got.body)
			}
		})
	}
}

// What a client sends wrong costs it an answer, not its connection.
func TestErrorsKeepTheConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.User, c.Password = "lab", "secret" })
	good := strings.TrimPrefix(basic("lab:secret"), "")
	conn := b.connect()
	for _, request := range []string{
		"POST /jobs HTTP/1.1\r\nHost: a\r\n" + good + "\r\nContent-Length: 2\r\n\r\n[]",
		"POST /jobs HTTP/1.1\r\nHost: a\r\n" + good + "\r\nContent-Length: 5\r\n\r\n{\"a\":",
		"POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ???\r\nContent-Length: 2\r\n\r\n{}",
		"GET /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \xff\xfeü\r\n\r\n",
		"GET /jobs HTTP/1.1\r\nHost: a\r\n" + basic("jörg:\xff") + "\r\n\r\n",
		"GET /nothing HTTP/1.1\r\nHost: a\r\n" + good + "\r\n\r\n",
		"PUT /jobs HTTP/1.1\r\nHost: a\r\n" + good + "\r\n\r\n",
		"GET /jobs/%zz HTTP/1.1\r\nHost: a\r\n" + good + "\r\n\r\n",
		"GET /jobs?limit=x HTTP/1.1\r\nHost: a\r\n" + good + "\r\n\r\n",
		"BREW /jobs HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		if got := raw(t, conn, request); got.status < 400 || got.status > 405 {
			t.Errorf("%q: %d %s", request, got.status, got.body)
		}
	}
	b.is(raw(t, conn, "GET /jobs HTTP/1.1\r\nHost: a\r\n"+good+"\r\n\r\n"), http.StatusOK, `{"jobs":[],"next":null}`)
}

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	b.undocumented = "/panic"
	b.api.app.Get(b.undocumented, func(c *fiber.Ctx) error {
		c.Response().ImmediateHeaderFlush = true
		c.Response().SetBodyStream(strings.NewReader("half an answer"), -1)
		panic("of a handler")
	})
	b.serve()
	b.isError(b.get("/panic"), http.StatusInternalServerError, "internal error")
	b.is(b.get("/healthz"), http.StatusOK, `{"status":"ok"}`)
}

// panicking is a source that has a fault of ours behind its first bytes.
type panicking struct {
	begun  bool
	closed chan struct{}
}

func (p *panicking) Read(b []byte) (int, error) {
	if p.begun {
		panic("of a stream")
	}
	p.begun = true
	return copy(b, "half an answer"), nil
}

func (p *panicking) await() error { return nil }

func (p *panicking) Close() error { close(p.closed); return nil }

// A stream is read when its handler has returned: its panic breaks off that one answer, of whatever version of HTTP.
func TestPanicOfAStream(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	b.undocumented = "/panic"
	streams := make(chan *panicking, 3)
	b.api.app.Get(b.undocumented, func(c *fiber.Ctx) error {
		p := &panicking{closed: make(chan struct{})}
		streams <- p
		return b.api.stream(c, logText, c.QueryInt("length", -1), p)
	})
	b.serve()
	for _, request := range []string{"GET /panic HTTP/1.1", "GET /panic?length=100 HTTP/1.1", "GET /panic HTTP/1.0"} {
		got := rawStream(t, b.connect(), request+"\r\nHost: a\r\n\r\n")
		if text, err := io.ReadAll(got.body); err == nil || !strings.HasPrefix("half an answer", string(text)) {
			t.Errorf("%s: %d %q, %v, want an answer that breaks off", request, got.status, text, err)
		}
		select {
		case <-(<-streams).closed:
		case <-b.ctx.Done():
			t.Fatalf("%s: the stream stays open", request)
		}
		b.is(b.get("/healthz"), http.StatusOK, `{"status":"ok"}`)
	}
}

func TestStatusOfErrors(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	var thrown error
	b.undocumented = "/error"
	b.api.app.Get(b.undocumented, func(*fiber.Ctx) error { return thrown })
	b.serve()
	for _, test := range []struct {
		err    error
		status int
		text   string
	}{
		{fmt.Errorf("topology: %w: 600000 bytes", bus.ErrTooLarge), 413, "the message is too large"},
		{fmt.Errorf("submit: %w", bus.ErrFull), 503, "the stream is full"},
		{fmt.Errorf("submit: %w: no leader", bus.ErrUnavailable), 503, "the bus is unavailable"},
		{fmt.Errorf("%w: %w", context.DeadlineExceeded, bus.ErrUnavailable), 503, "the bus is unavailable"},
		{context.DeadlineExceeded, 503, "the bus is unavailable"},
		{bus.ErrConflict, 503, "somebody else was first"},
		{errStopping, 503, "the API is shutting down"},
		{logFault(errors.New("read: input/output error")), 503, "the API's disk: read: input/output error"},
		{errors.New("a secret of ours"), 500, "internal error; the log of the API has more"},
		{context.Canceled, 500, "internal error"}, // nobody cancels but the shutdown
	} {
		thrown = test.err
		b.isError(b.get("/error"), test.status, test.text)
	}
}
