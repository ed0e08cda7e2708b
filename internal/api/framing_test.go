package api

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a proxy in front could read otherwise than the API is refused, with nothing after it taken for a request.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token = "token" })
	const (
		head  = "POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\n"
		after = "GET /hosts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\n\r\n"
	)
	for name, test := range map[string]struct {
		request string
		status  int
		word    string
	}{
		"two lengths":              {head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"one length twice":         {head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"lengths in one line":      {head + "Content-Length: 2, 2\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"length with a sign":       {head + "Content-Length: +2\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"length in hex":            {head + "Content-Length: 0x2\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"length past all numbers":  {head + "Content-Length: 99999999999999999999\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"length and chunks":        {head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "content-length and transfer-encoding"},
		"chunks and length":        {head + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "content-length and transfer-encoding"},
		"chunks twice":             {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"another coding":           {head + "Transfer-Encoding: gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"two codings":              {head + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a coding that looks like": {head + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"identity":                 {head + "Transfer-Encoding: identity\r\n\r\n", 400, "use chunked"},
		"chunks in HTTP/1.0":       {strings.Replace(head, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a folded header":          {head + "X-A: b\r\n c\r\n\r\n", 400, "goes over two lines"},
		"identity, asks first":     {head + "Expect: 100-continue\r\nTransfer-Encoding: identity\r\n\r\n", 400, "use chunked"},
		"a folded one, asks first": {head + "Expect: 100-continue\r\nX-A: b\r\n c\r\n\r\n", 400, "goes over two lines"},
		"a space before the colon": {head + "Content-Length : 2\r\n\r\n{}", 400, "not valid HTTP/1.1"},
		"a header without a name":  {head + ": 2\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a name with odd bytes":    {head + "X-\xff: 2\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a NUL in a header":        {head + "X-A: b\x00c\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a bare line end":          {head + "X-A: b\rContent-Length: 2\r\n\r\n", 400, "not valid HTTP/1.1"},
		"no host":                  {"GET /hosts HTTP/1.1\r\nAuthorization: Bearer token\r\n\r\n", 400, "not valid HTTP/1.1"},
		"two hosts":                {"GET /hosts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "not valid HTTP/1.1"},
		"two credentials":          {"GET /hosts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer token\r\n\r\n", 400, "authorization is there twice"},
		"HTTP/2.0":                 {"GET /hosts HTTP/2.0\r\nHost: a\r\n\r\n", 400, "use HTTP/1.1"},
		"HTTP/1.2":                 {"GET /hosts HTTP/1.2\r\nHost: a\r\n\r\n", 400, "use HTTP/1.1"},
		"HTTP/2's first words":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not valid HTTP/1.1"},
		"too many headers":         {head + strings.Repeat("X-A: b\r\n", 100) + "\r\n", 431, "more than 100 headers"},
		"a path too long":          {"GET /" + strings.Repeat("x", 2048) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "use at most 2048"},
		"a query too long":         {"GET /jobs?" + strings.Repeat("x", 13313) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "use at most 13312"},
		"too many parameters":      {"GET /jobs?" + strings.Repeat("a=b&", 100) + " HTTP/1.1\r\nHost: a\r\n\r\n", 400, "more than 100 parameters"},
		"broken chunks":            {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, "chunks"},
		"a line in a chunk's size": {head + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{}\r\n0\r\n\r\n", 400, "chunks"},
		"a chunk's size with 0x":   {head + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", 400, "chunks"},
		"no colon at the end":      {head + "X-A\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a space in the host":      {"GET /hosts HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a path in the host":       {"GET /hosts HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a host without its end":   {"GET /hosts HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "not valid HTTP/1.1"},
		"a port that is none":      {"GET /hosts HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "not valid HTTP/1.1"},
		"chunks that do not end":   {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", 400, "chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, conn := b.in(t), b.in(t).connect()
			if _, err := io.WriteString(conn, test.request+after); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(conn)
			b.isError(readReply(t, answers), test.status, test.word)
			if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
				t.Errorf("after the answer: %q, %v", rest, err)
			}
		})
	}
}

// A body that nobody reads is no request, and where it is small the connection goes on behind it.
func TestUnreadBodies(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token, c.BodyLimit = "token", 1<<20 })
	const after = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
	inner := "GET /hosts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\n\r\n"
	chunked := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	long := strings.Repeat(inner, 9<<10/len(inner)+1)
	longer := strings.Repeat(inner, 70<<10/len(inner)+1)
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		ends               bool
	}{
		"no credentials":              {"POST", "/jobs", inner, 401, false},
		"no credentials, longer":      {"POST", "/jobs", long, 401, false},
		"no credentials, too long":    {"POST", "/jobs", longer, 401, true},
		"a body beside GET":           {"GET", "/healthz", inner, 200, false},
		"a longer one beside GET":     {"GET", "/healthz", long, 200, true},
		"beside another method":       {"DELETE", "/jobs", long, 401, false},
		"an unknown method":           {"BREW", "/jobs", long, 400, false},
		"more than any limit":         {"POST", "/jobs", strings.Repeat("x", 2<<20), 401, true},
		"health does not take a body": {"POST", "/healthz", long, 401, false},
	} {
		for _, chunks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in chunks %v", name, chunks), func(t *testing.T) {
				t.Parallel()
				b, conn := b.in(t), b.in(t).connect()
				request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", test.method, test.path, len(test.body), test.body)
				ends := test.ends
				if chunks {
					request = fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s", test.method, test.path, chunked(test.body))
					ends = ends || test.method == "GET"
				}
				if _, err := io.WriteString(conn, request+after); err != nil {
					t.Fatal(err)
				}
				answers := bufio.NewReader(conn)
				got := readReply(t, answers)
				if got.status != test.status || (got.header.Get("Connection") == "close") != ends {
					t.Errorf("got %d %s with Connection %q", got.status, got.body, got.header.Get("Connection"))
				}
				if !ends {
					b.is(readReply(t, answers), http.StatusOK, `{"status":"ok"}`)
					_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // nothing more is to come
				}
				if rest, _ := io.ReadAll(answers); len(rest) > 0 {
					t.Errorf("after the last answer: %q", rest)
				}
			})
		}
	}
}

// Whatever a client sends gets an answer in JSON that is no fault of ours.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, target := range []string{
		"/jobs/%00", "/jobs/%", "/jobs/%zz", "/jobs/\xff\xfe", "/%2e%2e/%2e%2e/etc/passwd", "/jobs/%2e%2e%2f%2e%2e", "/jobs/..", "/..", "/./jobs/x", "//", "/jobs//", "/jobs/x;y=z",
		"/jobs?limit=%00", "/jobs?limit=\xff", "/jobs?%zz=%", "/jobs?limit=1&limit=2", "/jobs?=&&==", "/status/%2f", "/status/\xc3", "/hosts/%00/x",
		"*", "x", "?", "#", "/#", "/jobs#x", "http://", "http:///", "http://other/nothing", "https://user:pw@other:99999/nothing", "other:443", "ftp://x/y", "::", "[::1", "http://[::1/x",
		"\\jobs", "/jobs\\x", "/jobs\x00", "/\x00", "/\x7f", "/jobs/\x01", "/ü", "/jobs x y",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "G\xffT", "M-SEARCH", strings.Repeat("X", 300)} {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				conn := b.connect()
				request := fmt.Sprintf("%s %s %s\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, version)
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%q: %v", request, err)
				}
				got := reply{status: resp.StatusCode, header: resp.Header}
				body, err := io.ReadAll(resp.Body)
				if got.body = string(body); err != nil || got.status >= 500 || (got.status >= 400 && method != "HEAD" && !strings.HasPrefix(got.body, `{"error":"`)) ||
					got.header.Get("Content-Type") != "application/json" {
					t.Errorf("%q: %d %v %q, %v", request, got.status, got.header, got.body, err)
				}
				_ = conn.Close()
			}
		}
	}
	// A target may be a whole URL.
	got := raw(t, b.connect(), "GET http://other:99/hosts HTTP/1.1\r\nHost: a\r\n\r\n")
	b.is(got, http.StatusOK, `{"hosts":[]}`)
}

// A client that waits for leave to send its body gets it, or its answer.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token, c.BodyLimit = "token", 64<<10 })
	b.online(hostNamed("a"))
	body := `{"workdir":"/home/lab/one"}`
	head := "POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\nExpect: 100-continue\r\n"

	conn := b.connect()
	answers := bufio.NewReader(conn)
	if _, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n", head, len(body)); err != nil {
		t.Fatal(err)
	}
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	if got := readReply(t, answers); got.status != http.StatusAccepted {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.isError(raw(t, b.connect(), head+"Content-Length: 70000\r\n\r\n"), http.StatusRequestEntityTooLarge, "NETLAB_API_BODY_LIMIT")
}

func readReply(t *testing.T, from *bufio.Reader) reply {
	t.Helper()
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Close {
		resp.Header.Set("Connection", "close") // which the reader takes out
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}
