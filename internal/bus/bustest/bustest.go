// Package bustest gives tests a bus of their own.
package bustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/embedded"
)

// New runs a server with the streams made, and connects to it. Both end with the test.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	b, _ := NewServer(t)
	return b
}

// NewServer is New for a test that connects to the server again, with Connect.
func NewServer(t testing.TB) (*bus.Bus, *embedded.Server) {
	t.Helper()
	return NewServerWith(t, Limits())
}

// Limits are those of New's streams.
func Limits() bus.Limits {
	return bus.Limits{Replicas: 1, JobsBytes: 16 << 20, LogsBytes: 64 << 20, ObjectsBytes: 64 << 20, Lease: time.Minute}
}

// NewServerWith is NewServer with other limits of the streams.
func NewServerWith(t testing.TB, limits bus.Limits) (*bus.Bus, *embedded.Server) {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b := Connect(t, s, "/test")
	if err := b.EnsureStreams(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	return b, s
}

// Lose deletes every stream of the server's, as a store that is lost.
func Lose(t testing.TB, s *embedded.Server) {
	t.Helper()
	js := dial(t, s)
	// A stream that stays: a while after the last one is deleted the server removes the folder of them all, under the next that is made.
	const stays = "STAYS"
	if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: stays, Subjects: []string{"stays"}}); err != nil {
		t.Error(err)
	}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		if name == stays {
			continue
		}
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if err := names.Err(); err != nil {
		t.Error(err)
	}
}

// SilenceJobs has the stream of jobs say nothing of what it holds, until its streams are ensured anew.
func SilenceJobs(t testing.TB, s *embedded.Server) {
	t.Helper()
	js := dial(t, s)
	stream, err := js.Stream(t.Context(), "NETLAB_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.AllowDirect = false
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// SpoilConsumer makes the consumer of a host in a way in which ours cannot be made, until the function that it returns is called.
func SpoilConsumer(t testing.TB, s *embedded.Server, host string) (mend func()) {
	t.Helper()
	js := dial(t, s)
	other := jetstream.ConsumerConfig{Durable: host, AckPolicy: jetstream.AckNonePolicy}
	if _, err := js.CreateConsumer(t.Context(), "NETLAB_JOBS", other); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := js.DeleteConsumer(t.Context(), "NETLAB_JOBS", host); err != nil {
			t.Fatal(err)
		}
	}
}

// Publish stores a message that this program would not, as an earlier release may have left it.
func Publish(t testing.TB, s *embedded.Server, subject string, data []byte) (seq uint64) {
	t.Helper()
	ack, err := dial(t, s).Publish(t.Context(), subject, data)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// dial is a client of the server's that is nothing else, until the test ends.
func dial(t testing.TB, s *embedded.Server) jetstream.JetStream {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(s.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Connect connects to the server until the test ends, with source in what it publishes.
func Connect(t testing.TB, s *embedded.Server, source string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Config{Server: s, Creds: s.CredsFile, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
