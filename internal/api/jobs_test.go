package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

func hostNamed(name string) hosts.Host { return hosts.Host{Name: name} }

func TestSubmit(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	const payload = `{"action":"create","user":"lab","workdir":"/home/lab/one","unheard":1}`
	got := b.do(http.MethodPost, "/jobs", payload)
	if got.status != http.StatusAccepted {
		t.Fatalf("%d %s", got.status, got.body)
	}
	job := decode[jobs.Job](t, got.body)
	if job.State != jobs.Queued || job.Host != "a" || job.Workdir != "/home/lab/one" || job.User != "lab" || len(job.Warnings) == 0 {
		t.Errorf("job %s", got.body)
	}
	if location := got.header.Get("Location"); location != "/jobs/"+job.ID {
		t.Errorf("Location %q", location)
	}
	again := b.get(got.header.Get("Location"))
	if diff := cmp.Diff(job, decode[jobs.Job](t, again.body)); again.status != http.StatusOK || diff != "" {
		t.Errorf("%d %s", again.status, diff)
	}
	// Clients read strings and nulls where they look for them.
	fields := decode[map[string]any](t, again.body)
	for _, name := range []string{"id", "state", "error", "createdAt", "startedAt", "finishedAt", "workdir", "logPath"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("no field %q in %s", name, again.body)
		}
	}
	if fields["error"] != nil || fields["startedAt"] != nil {
		t.Errorf("no null: %s", again.body)
	}
}

func TestSubmitTakesAnyContentTypeButAPackedBody(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	const payload = `{"action":"create","workdir":"/home/lab/one"}`
	for _, header := range []string{
		"Content-Type: application/json", "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded",
		"Content-Type: ", "Content-Type: nonsense", "Content-Encoding: identity",
	} {
		if got := b.do(http.MethodPost, "/jobs", payload, header); got.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", header, got.status, got.body)
		}
	}
	b.isError(b.do(http.MethodPost, "/jobs", payload, "Content-Encoding: gzip"), http.StatusUnsupportedMediaType, "body", "send the JSON object itself")
}

func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`), http.StatusServiceUnavailable, "no host is online", "start a netlab-worker")
	lease := b.online(hosts.Host{Name: "a", Labels: map[string]string{"rack": "1"}})
	for body, words := range map[string][]string{
		``:            {"body: ", "empty"},
		`[]`:          {"body: ", "a list"},
		`[{"a":1}]`:   {"body: ", "a list"},
		`"x"`:         {"body: ", "a string"},
		`{"a":`:       {"body: ", "not JSON"},
		"{\"a\":\xff": {"body: "},
		`{"action":"explode","workdir":"relative","timeoutSeconds":-1,"collectCleanup":"maybe"}`: {"action: ", "; workdir: ", "; collectCleanup: ", "; timeoutSeconds: "},
		`{"workdir":"/etc/lab"}`:                       {"workdir: ", "outside the roots of host a (/home)"},
		`{"workdir":"/home/lab/one","host":"b"}`:       {"host: ", `no host "b" is known`},
		`{"workdir":"/home/lab/one","labels":{"x":1}}`: {"labels: "},
	} {
		b.isError(b.do(http.MethodPost, "/jobs", body), http.StatusBadRequest, words...)
	}

	b.submit(`{"workdir":"/home/lab/placed"}`)
	if err := lease.Release(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.eventually("the host to leave", func() bool { h, _ := b.view.Host("a"); return !h.Online })
	b.online(hostNamed("c"))
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/placed"}`), http.StatusConflict, "host a: ", "offline")
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/new","host":"a"}`), http.StatusConflict, "host a: ", "offline")
	if got := len(decode[struct{ Jobs []jobs.Job }](t, b.get("/jobs").body).Jobs); got != 1 {
		t.Errorf("%d jobs, want the one that was accepted", got)
	}
}

func TestUnknownJob(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for path, shown := range map[string]string{
		"nothing":                  "nothing",
		"a%20b":                    "a b",
		"a%2Fb":                    "a/b",
		"a%252Fb":                  "a%2Fb", // decoded once
		"%2e%2e":                   "..",
		"%2E%2E%2Fcursor":          "../cursor",
		"*":                        "*",
		"%3E":                      ">",
		"a.b":                      "a.b",
		"%C3%BC":                   "ü",
		"%22%0A":                   `\"\n`,
		"%FF":                      "\uFFFD",
		"%00":                      `\u0000`,
		strings.Repeat("x", 2_000): strings.Repeat("x", 80) + "…",
	} {
		want := `{"error":"Job ` + shown + ` not found"}`
		b.is(b.get("/jobs/"+path), http.StatusNotFound, want)
		b.is(b.get("/jobs/"+path+"/log"), http.StatusNotFound, want)
	}
}

func TestReadsGoOnWithoutTheBus(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.ended("a line\n")
	b.server.Stop()
	b.eventually("the loss of the bus", func() bool { return !b.bus.Connected() })
	if got := b.get("/jobs/" + p.ID); got.status != http.StatusOK || decode[jobs.Job](t, got.body).State != jobs.Success {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.is(b.get("/jobs/"+p.ID+"/log"), http.StatusOK, `{"log":"a line\n","offset":7,"state":"success"}`)
	b.is(b.get("/jobs/"+p.ID+"/log", "Accept: */*"), http.StatusOK, "a line")
	if got := b.get("/jobs"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.isError(b.get("/jobs/other"), http.StatusServiceUnavailable, "the bus is unavailable")
	b.isError(b.get("/jobs/other/log"), http.StatusServiceUnavailable, "the bus is unavailable")
	b.isError(b.get("/jobs/.."+"%2fx"), http.StatusNotFound, "not found") // no bus is needed for what is no id
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/two"}`), http.StatusServiceUnavailable, "the bus is unavailable")
	b.isError(b.get("/templates?host=a"), http.StatusServiceUnavailable, "the bus is unavailable")
}

// A job that was let go is as if it had never been.
func TestAJobThatWasLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.ended("the log\n")
	oldest, _, _ := b.view.Ended(1)
	if err := b.bus.LetGo(b.ctx, &oldest[0].Job, oldest[0].UpTo); err != nil {
		t.Fatal(err)
	}
	b.view.Forget(&oldest[0])
	for _, path := range []string{"", "/log", "/events", "/artifacts"} {
		b.isError(b.get("/jobs/"+p.ID+path), http.StatusNotFound, p.ID, "not found")
	}
	b.isError(b.do(http.MethodPost, "/jobs/"+p.ID+"/cancel", ""), http.StatusNotFound, p.ID)
	if got := b.get("/jobs"); strings.Contains(got.body, p.ID) {
		t.Errorf("listed: %s", got.body)
	}
	if got := b.get("/metrics").body; !strings.Contains(got, "\nnetlab_jobs_let_go_total 1\n") {
		t.Error("not counted")
	}
}
