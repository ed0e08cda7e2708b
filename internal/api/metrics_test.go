package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// metrics reads all metrics that are numbers, by name and labels as in the text.
func (b *testBundle) metrics(headers ...string) map[string]string {
	b.t.Helper()
	got := b.get("/metrics", headers...)
	if got.status != http.StatusOK {
		b.t.Fatalf("%d %s", got.status, got.body)
	}
	values := map[string]string{}
	for line := range strings.Lines(got.body) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndex(line, " "); at > 0 && !strings.HasPrefix(line, "#") {
			values[line[:at]] = line[at+1:]
		}
	}
	return values
}

func (b *testBundle) metricsAre(want map[string]string) {
	b.t.Helper()
	got := b.metrics()
	for name, value := range want {
		if got[name] != value {
			b.t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Version = "1.2.3" })
	h := hostNamed("a")
	h.Slots = 4
	b.online(h)
	p := b.running()
	p.write("twelve bytes")
	p.shown()
	queued := b.submit(`{"action":"down","workdir":"/home/lab/one"}`)
	b.eventually("the job", func() bool { return b.view.Counts().Active["a"].Queued == 1 })
	follower := b.open("/jobs/"+p.ID+"/log", "Accept: text/event-stream")
	b.get("/jobs/" + strings.Repeat("x", 30))
	b.get("/nowhere/" + queued.ID)
	b.do("BREW", "/jobs", "")
	b.metricsAre(map[string]string{
		`netlab_jobs{action="create",state="running"}`:                                "1",
		`netlab_jobs{action="down",state="queued"}`:                                   "1",
		`netlab_jobs{action="up",state="failed"}`:                                     "0",
		`netlab_host_jobs{host="a",state="queued"}`:                                   "1",
		`netlab_host_jobs{host="a",state="running"}`:                                  "1",
		`netlab_host_slots{host="a"}`:                                                 "4",
		`netlab_host_online{host="a"}`:                                                "1",
		`netlab_host_netlab_working{host="a"}`:                                        "1",
		`netlab_hosts{state="online"}`:                                                "1",
		`netlab_hosts{state="offline"}`:                                               "0",
		`netlab_ready`:                                                                "1",
		`netlab_bus_connected`:                                                        "1",
		`netlab_bus_stream_messages{stream="jobs"}`:                                   "3",
		`netlab_bus_stream_messages{stream="logs"}`:                                   "1",
		`netlab_bus_stream_limit_bytes{stream="logs"}`:                                fmt.Sprintf("%v", float64(64<<20)),
		`netlab_log_received_bytes_total`:                                             "12",
		`netlab_job_log_bytes`:                                                        "12",
		`netlab_jobs_finished_total{action="create",reason="",state="success"}`:       "0",
		`netlab_jobs_finished_total{action="create",reason="timeout",state="failed"}`: "0",
		`netlab_http_requests_total{code="202",method="POST",route="/jobs"}`:          "2",
		`netlab_http_requests_total{code="404",method="GET",route="/jobs/:id"}`:       "1",
		`netlab_http_requests_total{code="404",method="GET",route="none"}`:            "1",
		`netlab_http_requests_total{code="400",method="none",route="none"}`:           "1",
		`netlab_http_request_duration_seconds_count{method="POST",route="/jobs"}`:     "2",
		`netlab_http_open_streams{route="/jobs/:id/log"}`:                             "1",
		`netlab_job_run_duration_seconds_count{action="create"}`:                      "0",
	})
	for name := range b.metrics() {
		if strings.Contains(name, p.ID) || strings.Contains(name, queued.ID) || strings.Contains(name, "/home/lab") {
			t.Errorf("%s is one of very many", name)
		}
	}
	follower.close()
	p.move(jobs.Succeed)
	p.shown()
	if status := b.do(http.MethodPost, "/jobs/"+queued.ID+"/cancel", "").status; status != http.StatusOK {
		t.Fatal(status)
	}
	// A worker of another version.
	strange := b.submit(`{"action":"create","workdir":"/home/lab/two"}`)
	strange.Reason = "bored"
	strange.move(jobs.Fail)
	strange.shown()
	b.eventually("the events", func() bool {
		got := b.metrics()
		return got[`netlab_jobs_finished_total{action="create",reason="other",state="failed"}`] == "1" && got[`netlab_http_open_streams{route="/jobs/:id/log"}`] == "0"
	})
	b.metricsAre(map[string]string{
		`netlab_jobs_finished_total{action="create",reason="",state="success"}`:        "1",
		`netlab_jobs_finished_total{action="down",reason="canceled",state="canceled"}`: "1",
		`netlab_jobs{action="create",state="success"}`:                                 "1",
		`netlab_jobs{action="create",state="running"}`:                                 "0",
		`netlab_host_jobs{host="a",state="queued"}`:                                    "0",
		`netlab_job_run_duration_seconds_count{action="create"}`:                       "1",
		`netlab_job_run_duration_seconds_count{action="down"}`:                         "0",
		`netlab_job_queue_duration_seconds_count{action="create"}`:                     "1",
		`netlab_job_log_bytes`: "12",
	})
}

func TestMetricsAreAsPrometheusWantsThem(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Prefix, c.Version = "/lab", "1.2.3" })
	b.online(hostNamed("a"))
	b.ended("text\n")
	got := b.get("/metrics")
	if media := got.header.Get("Content-Type"); !strings.HasPrefix(media, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", media)
	}
	problems, err := promlint.New(strings.NewReader(got.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if !strings.Contains(got.body, `route="/jobs"`) || strings.Contains(got.body, "/lab") {
		t.Error("routes stand there with the prefix")
	}
	// Every number has a name of ours, or is of Go or the process, and a help.
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		ours := strings.HasPrefix(name, "netlab_") || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
		if !ours || family.GetHelp() == "" {
			t.Errorf("%s: %q", name, family.GetHelp())
		}
	}
	for accept, media := range map[string]string{
		"application/openmetrics-text;version=1.0.0,text/plain;q=0.5": "application/openmetrics-text; version=1.0.0",
		"application/json": "text/plain; version=0.0.4",
	} {
		got := b.get("/metrics", "Accept: "+accept)
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), media) {
			t.Errorf("%s: %d %v", accept, got.status, got.header)
		}
		if strings.Contains(media, "openmetrics") && !strings.HasSuffix(got.body, "# EOF\n") {
			t.Errorf("%s has no end", accept)
		}
	}
}

func TestMetricsNeedCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Token = "token" })
	b.isError(b.get("/metrics"), http.StatusUnauthorized)
	if got := b.metrics("Authorization: Bearer token"); got[`netlab_http_requests_total{code="401",method="GET",route="none"}`] != "1" {
		t.Errorf("%v", got)
	}
}

// Nothing that happened before a start is counted by it, and nothing twice.
func TestMetricsCountFromTheStart(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	limits := bus.Limits{Replicas: 1, JobsBytes: 64 << 20, LogsBytes: 64 << 20, ObjectsBytes: 64 << 20, Lease: 10 * time.Second}
	if err := b.bus.EnsureStreams(b.ctx, limits); err != nil {
		t.Fatal(err)
	}
	var played []*played
	for _, id := range []string{"before", "across"} {
		p := playedJob(b, id)
		p.move(jobs.Start)
		p.write("0123456789")
		played = append(played, p)
	}
	played[0].move(jobs.Succeed)
	b.follow()
	b.serve()
	const success = `netlab_jobs_finished_total{action="create",reason="",state="success"}`
	b.metricsAre(map[string]string{success: "0", "netlab_log_received_bytes_total": "0", `netlab_jobs{action="create",state="success"}`: "1", "netlab_job_log_bytes": "20"})
	played[1].write("01234")
	played[1].move(jobs.Succeed)
	b.eventually("the end", func() bool { return b.metrics()[success] == "1" })
	b.metricsAre(map[string]string{success: "1", "netlab_log_received_bytes_total": "5", "netlab_job_log_bytes": "25"})
}

func playedJob(b *testBundle, id string) *played {
	b.t.Helper()
	job := jobs.Job{ID: id, Action: jobs.Create, State: jobs.Queued, Host: "a", Workdir: "/x", CreatedAt: time.Now().UTC().Truncate(time.Second), Warnings: []string{}}
	if _, err := b.bus.Submit(b.ctx, &bus.Birth{Job: job}); err != nil {
		b.t.Fatal(err)
	}
	return &played{testBundle: b, Job: job}
}

// The metrics are there while the bus is not.
func TestMetricsWithoutTheBus(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.server.Stop()
	b.eventually("the loss", func() bool { return b.metrics()["netlab_bus_connected"] == "0" })
	b.metricsAre(map[string]string{"netlab_ready": "0"})
}
