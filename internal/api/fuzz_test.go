package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

// spoken is a connection whose client has said all it has to say.
type spoken struct {
	io.Reader
	answer bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) { return s.answer.Write(p) }
func (s *spoken) Close() error                { return nil }
func (s *spoken) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (s *spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81} }
func (s *spoken) SetDeadline(time.Time) error      { return nil }
func (s *spoken) SetReadDeadline(time.Time) error  { return nil }
func (s *spoken) SetWriteDeadline(time.Time) error { return nil }

// FuzzRequests sends any bytes: each answer is JSON, and none is a fault of ours. The bus has nothing on it yet, so
// that what gets past the checks is answered with 503.
func FuzzRequests(f *testing.F) {
	const get, post = "GET /jobs?limit=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n", "POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n"
	for _, seed := range []string{
		get + get,
		"GET /healthz HTTP/1.0\r\n\r\n",
		"GET http://a/jobs/%00%2e HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic dDp0\r\n\r\n",
		post + "Content-Length: 26\r\n\r\n{\"workdir\":\"/home/lab/one\"}" + get,
		post + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX-A: b\r\n\r\n" + get,
		post + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
		post + "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 20\r\n\r\n--b\r\nContent-Disposi",
		"PUT /jobs/x/log?offset=1&follow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + get,
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n b\r\n\r\n\x16\x03\x01",
	} {
		f.Add([]byte(seed))
	}
	server, err := embedded.Start(f.Context(), embedded.Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(server.Stop)
	b, err := bus.Connect(bus.Config{Server: server, Source: "/test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(b.Close)
	logs, err := logfile.Open(filepath.Join(f.TempDir(), "logs"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = logs.Close() })
	quiet := slog.New(slog.DiscardHandler)
	v := view.New(b, logs, filepath.Join(f.TempDir(), "cursor"), time.Second, quiet)
	s := New(Config{View: v, Bus: b, Dispatcher: dispatch.New(b, v, nil), Token: "t", User: "t", Password: "t", BodyLimit: 1 << 10, Log: quiet})
	f.Fuzz(func(t *testing.T, request []byte) {
		conn := &spoken{Reader: bytes.NewReader(request)}
		_ = s.app.Server().ServeConn(conn) // it says how the client failed
		answers := bufio.NewReader(&conn.answer)
		head := bytes.Contains(request, []byte("HEAD")) // whose answers have no body
		for n := 0; ; n++ {
			if _, err := answers.Peek(1); err != nil {
				return
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("answer %d to %q: %v", n, request, err)
			}
			if resp.StatusCode == http.StatusContinue {
				continue
			}
			if media := resp.Header.Get("Content-Type"); media != "application/json" || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("answer %d to %q: %d, %s", n, request, resp.StatusCode, media)
			}
			if head {
				return
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || !json.Valid(body) || resp.StatusCode >= 400 && !strings.HasPrefix(string(body), `{"error":"`) {
				t.Fatalf("answer %d to %q: %d %q, %v", n, request, resp.StatusCode, body, err)
			}
		}
	})
}
