package api

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/contract"
)

// reply is an answer of the API, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// request sends a request with headers given as "Name: value".
func (b *testBundle) request(method, path, body string, headers ...string) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	return req
}

func (b *testBundle) do(method, path, body string, headers ...string) reply {
	b.t.Helper()
	resp, err := b.client.Do(b.request(method, path, body, headers...))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v after %d bytes", method, path, err, len(text))
	}
	b.conforms(resp, text)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// conforms holds an answer to the OpenAPI document: every one that a test gets goes through here. A body that was not read is
// nil.
func (b *testBundle) conforms(resp *http.Response, body []byte) {
	b.t.Helper()
	request := resp.Request
	if b.undocumented != "" && request.URL.Path == b.undocumented {
		return
	}
	err := b.contract().Check(contract.Answer{
		Method: request.Method, Path: request.URL.EscapedPath(), Status: resp.StatusCode, Header: resp.Header, Body: body,
	})
	if err != nil {
		b.t.Errorf("not as the OpenAPI document says: %v", err)
	}
}

func (b *testBundle) readContract() *contract.Contract {
	document, err := openAPI(&b.api.config)
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := contract.New(document)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *testBundle) get(path string, headers ...string) reply {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", headers...)
}

// opened is an answer that is read as it comes.
type opened struct {
	status int
	header http.Header
	body   *bufio.Reader
	close  func()
}

// open begins to read a stream, which the end of the test closes.
func (b *testBundle) open(path string, headers ...string) *opened {
	b.t.Helper()
	resp, err := b.client.Do(b.request(http.MethodGet, path, "", headers...))
	if err != nil {
		b.t.Fatal(err)
	}
	b.conforms(resp, nil)
	o := &opened{resp.StatusCode, resp.Header, bufio.NewReader(resp.Body), func() { _ = resp.Body.Close() }}
	b.t.Cleanup(o.close)
	return o
}

// is checks status and body of an answer.
func (b *testBundle) is(got reply, status int, body string) {
	b.t.Helper()
	if got.status != status || strings.TrimSuffix(got.body, "\n") != body {
		b.t.Errorf("got %d %s\nwant %d %s", got.status, got.body, status, body)
	}
}

// isError checks that an answer is a JSON object with nothing but an error of these words.
func (b *testBundle) isError(got reply, status int, words ...string) {
	b.t.Helper()
	var fields map[string]string
	if err := json.Unmarshal([]byte(got.body), &fields); err != nil || len(fields) != 1 || fields["error"] == "" {
		b.t.Errorf("body %q is no error: %v", got.body, err)
	}
	if got.status != status {
		b.t.Errorf("status %d, want %d: %s", got.status, status, got.body)
	}
	if media := got.header.Get("Content-Type"); media != "application/json" {
		b.t.Errorf("content type %q", media)
	}
	for _, w := range words {
		if !strings.Contains(fields["error"], w) {
			b.t.Errorf("error %q does not say %q", fields["error"], w)
		}
	}
	if away := got.header.Get("Retry-After") != ""; away != (status == http.StatusServiceUnavailable) {
		b.t.Errorf("status %d with Retry-After %q", status, got.header.Get("Retry-After"))
	}
}

func decode[T any](t *testing.T, body string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

// connect opens a bare connection to the API.
func (b *testBundle) connect() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// rawStream sends a request and reads the headers of its answer.
func rawStream(t *testing.T, conn net.Conn, request string) *opened {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &opened{resp.StatusCode, resp.Header, bufio.NewReader(resp.Body), func() { _ = resp.Body.Close() }}
}
