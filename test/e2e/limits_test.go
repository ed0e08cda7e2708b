package e2e_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/certificate"
)

// A log that a run floods is cut off, is the same log when another worker makes it, and takes no disk of the host.
func TestLogIsCutOffAtItsLimit(t *testing.T) {
	t.Parallel()
	f := split(t, "NETLAB_WORKER_LOG_LIMIT=64KiB")
	a := f.any()
	dir := f.chatter("flood", object{"lines": 20_000, "bytes": 1000, "gate": "gate"})
	job := a.submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
	const marker = "netlab-worker: the log has reached its limit of 65536 bytes (NETLAB_WORKER_LOG_LIMIT): what the job writes from here on is left out\n"
	a.awaitLog(t, job.ID, strings.TrimSuffix(marker, "\n"))
	output := f.path("worker-alpha", "jobs", job.ID, "output")
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		info, err := os.Stat(output)
		if err != nil {
			t.Fatal(err)
		}
		disk := info.Sys().(*syscall.Stat_t).Blocks * 512
		if info.Size() > 19_000_000 && disk < 5<<20 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("an output of %d bytes takes %d of the disk", info.Size(), disk)
		}
	}
	f.workers[0].kill()
	openGate(t, dir)
	f.extra = []string{"NETLAB_WORKER_LOG_LIMIT=1MiB"}
	f.startWorker("alpha")
	ended, log := a.finish(t, job.ID)
	if ended.State != jobs.Success || ended.LogBytes != int64(len(log)) {
		t.Errorf("%s with %d bytes, the log has %d", ended.State, ended.LogBytes, len(log))
	}
	head, tail, found := strings.Cut(log, "\n"+marker)
	if !found || len(head) != 64<<10 || !strings.HasPrefix(head, "netlab-worker: create in ") || strings.Contains(tail, "chatter") {
		t.Errorf("%v, %d bytes, and then %q", found, len(head), tail)
	}
	if got := f.busLog(t, job.ID); got != log {
		t.Errorf("the bus has %d bytes, HTTP %d", len(got), len(log))
	}
}

// Every setting of the listener reaches it.
func TestSettingsOfTheListener(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate.Make(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}}}
	api := launch(t, "netlab-api", []string{
		"NETLAB_API_DATA_DIR=" + t.TempDir(), "NETLAB_API_PORT=0", "NETLAB_API_BIND=0.0.0.0",
		"NETLAB_API_USER=lab", "NETLAB_API_PASSWORD=pä:ss €", "NETLAB_API_TOKEN=to.ken", "NETLAB_API_TLS_CERT=" + cert, "NETLAB_API_TLS_KEY=" + key,
		"NETLAB_API_BODY_LIMIT=64KiB", "NETLAB_API_BUNDLE_LIMIT=100KiB", "NETLAB_API_READ_TIMEOUT=3s", "NETLAB_API_CONNECTIONS=4", "NETLAB_API_CLIENT_CONNECTIONS=2",
		"NETLAB_BUS_JOBS_BYTES=64MiB", "NETLAB_BUS_LOGS_BYTES=64MiB", "NETLAB_BUS_OBJECTS_BYTES=64MiB",
	})
	_, port, err := net.SplitHostPort(api.expect(`listening.* address=(\S+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + port
	ask := func(body, contentType string, credentials func(*http.Request)) (int, string) {
		t.Helper()
		method := map[bool]string{true: http.MethodGet, false: http.MethodPost}[body == ""]
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+"/jobs", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		credentials(req)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer to.ken") }
	for name, test := range map[string]struct {
		body, contentType string
		credentials       func(*http.Request)
		status            int
		word              string
	}{
		"nobody":           {"", "", func(*http.Request) {}, 401, "unauthorized"},
		"a password":       {"", "", func(r *http.Request) { r.SetBasicAuth("lab", "pä:ss €") }, 200, `{"jobs":[]`},
		"another password": {"", "", func(r *http.Request) { r.SetBasicAuth("lab", "pa:ss €") }, 401, "unauthorized"},
		"a token":          {"", "", token, 200, `{"jobs":[]`},
		"a large body":     {strings.Repeat(" ", 65<<10), "", token, 413, "NETLAB_API_BODY_LIMIT"},
		"a large bundle":   {strings.Repeat(" ", 101<<10), "multipart/form-data; boundary=x", token, 413, "NETLAB_API_BUNDLE_LIMIT"},
	} {
		if status, text := ask(test.body, test.contentType, test.credentials); status != test.status || !strings.Contains(text, test.word) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	client.CloseIdleConnections()

	// What follows goes over plain connections, which are told to use TLS, or that they are too many.
	plain := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn := plain()
	if _, err := io.WriteString(conn, "GET /jobs HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") || !strings.Contains(string(text), "use https://") {
		t.Errorf("plain HTTP: %q, %v", text, err)
	}
	secure := tls.Client(plain(), client.Transport.(*http.Transport).TLSClientConfig)
	if _, err := io.WriteString(secure, "GET /jobs HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(secure); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408 ") || !strings.Contains(string(text), "3s (NETLAB_API_READ_TIMEOUT)") {
		t.Errorf("half a request: %q, %v", text, err)
	}
	// One more than there may be. The two before it are held for the time that they have for their handshake.
	var text []byte
	for end := time.Now().Add(patience); !strings.Contains(string(text), "NETLAB_API_CLIENT_CONNECTIONS") && time.Now().Before(end); {
		held := []net.Conn{plain(), plain()}
		secure := tls.Client(plain(), client.Transport.(*http.Transport).TLSClientConfig)
		if _, err := io.WriteString(secure, "GET /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer to.ken\r\nConnection: close\r\n\r\n"); err == nil {
			text, _ = io.ReadAll(secure)
		}
		for _, conn := range append(held, secure) {
			_ = conn.Close()
		}
	}
	if !strings.HasPrefix(string(text), "HTTP/1.1 503 ") || !strings.Contains(string(text), "Retry-After: ") || !strings.Contains(string(text), "there are 2 connections from this address") {
		t.Errorf("a third connection: %q", text)
	}
}
