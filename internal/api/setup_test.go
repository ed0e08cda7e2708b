package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
	"netlab-runner/test/contract"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The bus server's own, which it does not wait for at its shutdown.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).internalLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startTagging"),
		// The HTTP server's clock, and its cleaner, which sleeps for 10 s before it sees that it is to end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// testBundle is an API with a bus of its own, in which the test plays the workers.
type testBundle struct {
	t       *testing.T
	ctx     context.Context
	server  *embedded.Server
	bus     *bus.Bus
	view    *view.View
	logs    *logfile.Store
	api     *Server
	address string
	url     string
	client  *http.Client
	// undocumented is the path of a route that the test made itself.
	undocumented string

	// contract is the document of the API, made when it is first asked for.
	contract func() *contract.Contract
}

// setup starts an API; change alters its configuration before.
func setup(t *testing.T, change func(*Config)) *testBundle {
	t.Helper()
	b := prepare(t, change)
	b.follow()
	b.serve()
	return b
}

// prepare makes an API that does not serve, of a view that does not follow the bus.
func prepare(t *testing.T, change func(*Config)) *testBundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	b := &testBundle{t: t, ctx: ctx, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(b.client.CloseIdleConnections)
	var err error
	if b.server, err = embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.server.Stop)
	if b.bus, err = bus.Connect(bus.Config{Server: b.server, Source: "/test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.bus.Close)
	dir := t.TempDir()
	if b.logs, err = logfile.Open(filepath.Join(dir, "logs")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.logs.Close() })
	quiet := slog.New(slog.DiscardHandler)
	b.view = view.New(b.bus, b.logs, filepath.Join(dir, "cursor"), leaseTime, quiet)
	c := Config{View: b.view, Dispatcher: dispatch.New(b.bus, b.view, nil), Bus: b.bus, Log: quiet}
	if change != nil {
		change(&c)
	}
	b.api = New(c)
	b.contract = sync.OnceValue(b.readContract)
	return b
}

// leaseTime is longer than any test: nobody renews the leases.
const leaseTime = time.Hour

// follow brings the view up to the bus and keeps it there.
func (b *testBundle) follow() {
	b.t.Helper()
	err := b.bus.EnsureStreams(b.ctx, bus.Limits{Replicas: 1, JobsBytes: 64 << 20, LogsBytes: 64 << 20, ObjectsBytes: 64 << 20, Lease: leaseTime})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() { defer close(done); b.view.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done })
	b.eventually("the view to catch up", b.view.CaughtUp)
}

func (b *testBundle) serve() {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.address = l.Addr().String()
	b.url = "http://" + b.address + b.api.config.Prefix
	served := make(chan error, 1)
	go func() { served <- b.api.Serve(l) }()
	b.t.Cleanup(func() {
		b.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.api.Shutdown(ctx); err != nil {
			b.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			b.t.Errorf("serve: %v", err)
		}
	})
}

// in is the bundle in a test of its own.
func (b *testBundle) in(t *testing.T) *testBundle {
	own := *b
	own.t = t
	return &own
}

// eventually waits for a condition that comes without an event of its own.
func (b *testBundle) eventually(what string, condition func() bool) {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// online announces a host.
func (b *testBundle) online(h hosts.Host) *bus.Lease {
	b.t.Helper()
	if h.Roots == nil {
		h.Roots = []string{"/home"}
	}
	h.Identity, h.Slots, h.StartedAt = "identity-of-"+h.Name, max(h.Slots, 1), time.Unix(1_800_000_000, 0).UTC()
	lease, err := b.bus.AcquireLease(b.ctx, &h)
	if err != nil {
		b.t.Fatal(err)
	}
	b.eventually("host "+h.Name, func() bool { known, ok := b.view.Host(h.Name); return ok && known.Online })
	return lease
}

// answer serves an endpoint of a host with what f returns.
func (b *testBundle) answer(host, endpoint string, f func(ctx context.Context, question string) (string, error)) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	finish, err := b.bus.Answer(ctx, host, endpoint, func(ctx context.Context, question []byte) ([]byte, error) {
		reply, err := f(ctx, string(question))
		return []byte(reply), err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		cancel()
		finish()
	})
}
