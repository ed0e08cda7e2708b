package embedded

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netlab-runner/internal/bus"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The server's own, which it does not wait for at its shutdown.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).internalLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startTagging"),
	)
}

// ready connects to the server, and makes streams in it that are small.
func ready(ctx context.Context, t *testing.T, s *Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Config{Server: s, Trouble: s.Trouble, Creds: s.CredsFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	limits := bus.Limits{Replicas: 1, JobsBytes: 4 << 20, LogsBytes: 4 << 20, ObjectsBytes: 4 << 20, Lease: 10 * time.Second}
	if err := b.EnsureStreams(ctx, limits); err != nil {
		t.Fatal(err)
	}
	return b
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestWithoutListenerNothingListens(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if addr := s.server.Load().Addr(); addr != nil {
		t.Errorf("listens on %s", addr)
	}
}
