package settings

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	api := mustParseAPI(t, given{
		args: []string{"--port=0", "--auth-user=u"},
		env:  []string{"NETLAB_API_PASSWORD=hunter2", "NETLAB_BUS_URL=nats://u:hunter2@h:1,tls://token@i,localhost", "NETLAB_WORKER_HOST=h"},
		file: "bus:\n  lease: 60s\n  replicas: 3\n",
	})
	want := []Value{
		{"api.config", api.Config, Environment},
		{"api.data_dir", "/var/lib/skyforge/netlab-api", Default},
		{"api.with_worker", "false", Default},
		{"api.bind", "127.0.0.1", Default},
		{"api.port", "0", Flag},
		{"api.user", "u", Flag},
		{"api.password", "***", Environment},
		{"bus.url", "nats://***@h:1,tls://***@i,localhost", Environment},
		{"bus.lease", "1m", File},
		{"bus.replicas", "3", File},
	}
	if diff := cmp.Diff(want, api.Summary()); diff != "" {
		t.Error(diff)
	}

	worker, err := parseWorker(t, given{env: []string{"NETLAB_BUS_URL=localhost", "NETLAB_WORKER_LABELS=b=2,a=1"}})
	if err != nil {
		t.Fatal(err)
	}
	want = []Value{
		{"bus.url", "localhost", Environment},
		{"worker.host", "lab1", Default},
		{"worker.data_dir", "/var/lib/netlab-worker", Default},
		{"worker.roots", "/home", Default},
		{"worker.slots", "6", Default},
		{"worker.labels", "a=1,b=2", Environment},
	}
	if diff := cmp.Diff(want, worker.Summary()); diff != "" {
		t.Error(diff)
	}
}

func TestAttr(t *testing.T) {
	t.Parallel()
	if got := (Value{"api.port", "80", Flag}).Attr().String(); got != "api.port=80 (flag)" {
		t.Error(got)
	}
	if got := (Value{"api.port", "8090", Default}).Attr().String(); got != "api.port=8090" {
		t.Error(got)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", 10 * time.Minute: "10m", 4 * time.Hour: "4h", 100 * time.Hour: "100h",
		90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", 20*time.Minute + time.Hour: "1h20m", 5 * time.Millisecond: "5ms",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%d) is %q, want %q", d, got, want)
		}
	}
}
