package api

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHealthIsOpenToAll(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token, c.Prefix = "secret", "lab/" })
	root := *b
	root.url = "http://" + b.address
	for _, at := range []*testBundle{b, &root} {
		b.is(at.get("/healthz"), http.StatusOK, `{"status":"ok"}`)
		b.is(at.get("/readyz/"), http.StatusOK, `{"status":"ready"}`)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	b.serve()
	type readiness struct {
		Status  string
		Reasons []string
	}
	const reading = ": still reading them from the bus"
	got := b.get("/readyz")
	want := readiness{"not ready", []string{"jobs" + reading, "logs" + reading, "hosts" + reading}}
	if diff := cmp.Diff(want, decode[readiness](t, got.body)); got.status != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("%d %s", got.status, diff)
	}
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.is(b.get("/healthz"), http.StatusOK, `{"status":"ok"}`)
	for _, path := range []string{"/jobs", "/jobs/a", "/jobs/a/log", "/hosts", "/status", "/status/1?host=a", "/templates?host=a"} {
		b.isError(b.get(path), http.StatusServiceUnavailable, "not ready: jobs: still reading")
	}
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/a/b"}`), http.StatusServiceUnavailable, "not ready")
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":7}`), http.StatusBadRequest, "workdir")

	b.follow()
	b.is(b.get("/readyz"), http.StatusOK, `{"status":"ready"}`)
	b.server.Stop()
	b.eventually("the loss of the bus", func() bool { return !b.bus.Connected() })
	b.is(b.get("/readyz"), http.StatusServiceUnavailable, `{"reasons":["bus: not connected"],"status":"not ready"}`)
}
