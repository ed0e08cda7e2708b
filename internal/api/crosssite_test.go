package api

import (
	"io"
	"net/http"
	"testing"
)

func TestRequestsOfOtherSitesPages(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token = "token" })
	b.online(hostNamed("a"))
	const body, token = `{"action":"status","workdir":"/home/lab/one"}`, "Authorization: Bearer token"
	for name, headers := range map[string][]string{
		"another site":          {"Origin: http://example.com", "Sec-Fetch-Site: cross-site"},
		"the same site's other": {"Origin: http://a." + b.address, "Sec-Fetch-Site: same-site"},
		"an old browser":        {"Origin: http://example.com"},
		"a page of no site":     {"Origin: null"},
		"another port":          {"Origin: http://127.0.0.1:1"},
	} {
		for _, path := range []string{"/jobs", "/jobs/x/cancel", "/connect", "/graph"} {
			got := b.do(http.MethodPost, path, body, append([]string{"Content-Type: text/plain", token}, headers...)...)
			b.isError(got, http.StatusForbidden, "origin: a page of another site")
			if t.Failed() {
				t.Fatalf("%s: POST %s", name, path)
			}
		}
		if got := b.get("/jobs", append([]string{token}, headers...)...); got.status != http.StatusOK || got.body != `{"jobs":[],"next":null}`+"\n" {
			t.Errorf("%s: GET /jobs: %d %s", name, got.status, got.body)
		}
	}
	for name, headers := range map[string][]string{
		"no browser":        nil,
		"a page of ours":    {"Origin: " + b.url, "Sec-Fetch-Site: same-origin"},
		"behind a proxy":    {"Origin: https://labs.example.com", "Sec-Fetch-Site: same-origin"},
		"an old browser":    {"Origin: " + b.url},
		"typed by a reader": {"Sec-Fetch-Site: none"},
	} {
		if got := b.do(http.MethodPost, "/jobs", body, append([]string{token}, headers...)...); got.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// Which of two values is meant nobody knows, in no route.
func TestParametersThatAreThereTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for path, name := range map[string]string{
		"/jobs?limit=1&limit=2": "limit", "/jobs/x/log?offset=1&offset=2": "offset", "/jobs/x/artifact?path=a&path=b": "path",
		"/status?host=a&host=b": "host", "/templates?dir=a&dir=": "dir", "/events?user=a&user=b": "user", "/labs?other=1&other=2": "other",
	} {
		b.isError(b.get(path), http.StatusBadRequest, name+": is given twice")
	}
	if got := b.get("/jobs?limit=1&limit=1"); got.status != http.StatusOK {
		t.Errorf("the same value twice: %d %s", got.status, got.body)
	}
}

// Whoever speaks TLS to a plain port is not left to wait.
func TestTLSOnThePlainPort(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	conn := b.connect()
	if _, err := io.WriteString(conn, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"); err != nil {
		t.Fatal(err)
	}
	// The deadline of the connection is before the server's own, of 30 s.
	if answer, err := io.ReadAll(conn); len(answer) > 0 || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	if got := b.get("/healthz"); got.status != http.StatusOK {
		t.Errorf("afterwards: %d", got.status)
	}
}
