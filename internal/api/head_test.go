package api

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestHeadHangsOnNoStream(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	conn := b.connect()
	// One after the other on one connection: an answer with a body, or a byte too many, spoils the next.
	for _, accept := range []string{"*/*", "text/event-stream", "application/json"} {
		request := "HEAD /jobs/" + p.ID + "/log HTTP/1.1\r\nHost: a\r\nAccept: " + accept + "\r\n\r\n"
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		head := readHead(t, conn)
		if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("%s: %q", accept, head)
		}
	}
	b.is(raw(t, conn, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), http.StatusOK, `{"status":"ok"}`)
	for path, status := range map[string]int{"/jobs": 200, "/jobs/" + p.ID: 200, "/jobs/x": 404, "/jobs/x/log": 404, "/jobs/" + p.ID + "/log?offset=-1": 400, "/x": 404} {
		if got := b.do(http.MethodHead, path, ""); got.status != status || got.body != "" {
			t.Errorf("HEAD %s: %d %q", path, got.status, got.body)
		}
	}
}

// readHead reads byte by byte up to the empty line.
func readHead(t *testing.T, conn net.Conn) string {
	t.Helper()
	var head strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := conn.Read(one); err != nil {
			t.Fatalf("%v after %q", err, head.String())
		}
		head.Write(one)
	}
	return head.String()
}
