package worker

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// materialOf asks a worker that may reach 127.0.0.1 for what came with the job.
func (b *testBundle) materialOf(ctx context.Context, birth *bus.Birth) (*material, error) {
	b.worker.bus = b.bus
	b.worker.config.URLNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	birth.Host = "a"
	return b.worker.material(ctx, birth)
}

func (b *testBundle) sealURL(url string) *bus.Sealed {
	b.t.Helper()
	sealed, err := bus.SealURL(url, b.worker.publicKey)
	if err != nil {
		b.t.Fatal(err)
	}
	return sealed
}

func wantMaterial(t *testing.T, got *material, err error, want material) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.topology != want.topology || !bytes.Equal(got.bundle, want.bundle) || (got.bundle == nil) != (want.bundle == nil) {
		t.Fatalf("a topology of %d bytes and a bundle of %d, want %d and %d", len(got.topology), len(got.bundle), len(want.topology), len(want.bundle))
	}
}

func wantInvalid(t *testing.T, err error, begins, words string) {
	t.Helper()
	var bad *invalidError
	if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), begins) || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v, want one that begins %q with %q", err, begins, words)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("%v shows the query", err)
	}
}

func TestMaterialOfTheBirth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, test := range []struct {
		action jobs.Action
		want   string
	}{
		{jobs.Up, "nodes: [ r1 ]"},
		{jobs.Create, "nodes: [ r1 ]"},
		{jobs.Restart, "nodes: [ r1 ]"},
		{jobs.Validate, "nodes: [ r1 ]"},
		{jobs.Down, ""},
		{jobs.Destroy, ""},
		{jobs.Status, ""},
		{jobs.Collect, ""},
	} {
		m, err := b.materialOf(t.Context(), &bus.Birth{Job: jobs.Job{ID: "j1", Action: test.action}, Topology: "nodes: [ r1 ]"})
		wantMaterial(t, m, err, material{topology: test.want})
		if m.empty() != (test.want == "") {
			t.Errorf("%s: empty is %v", test.action, m.empty())
		}
	}
	// What means nothing for an action is not asked for.
	m, err := b.materialOf(t.Context(), &bus.Birth{Job: jobs.Job{ID: "j1", Action: jobs.Status}, SealedURL: b.sealURL("http://127.0.0.2:1/")})
	wantMaterial(t, m, err, material{})
}

func TestMaterialOnTheBus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	content := bytes.Repeat([]byte("nodes: [ r1 ] # \n"), 100_000) // several pieces
	put := func(id string) {
		if err := b.bus.PutObject(t.Context(), "a", id, content); err != nil {
			t.Fatal(err)
		}
	}
	put("topology")
	put("bundle")
	birth := func(id, kind string, content []byte) *bus.Birth {
		return &bus.Birth{Job: jobs.Job{ID: id, Action: jobs.Up}, Object: bus.RefOf(kind, content)}
	}
	m, err := b.materialOf(t.Context(), birth("topology", bus.ObjectTopology, content))
	wantMaterial(t, m, err, material{topology: string(content)})
	m, err = b.materialOf(t.Context(), birth("bundle", bus.ObjectBundle, content))
	wantMaterial(t, m, err, material{bundle: content})

	other := birth("bundle", bus.ObjectBundle, content)
	other.Object.SHA256 = bus.RefOf(bus.ObjectBundle, content[1:]).SHA256
	for _, lost := range []*bus.Birth{birth("never", bus.ObjectBundle, content), birth("topology", bus.ObjectTopology, content[1:]), other} {
		_, err = b.materialOf(t.Context(), lost)
		if err == nil {
			t.Fatalf("%s has its %s", lost.ID, lost.Object.Kind)
		}
		// Not the fault of the request.
		if end := refusal(err); end.reason != jobs.ReasonHostFailed || !strings.HasPrefix(end.text, lost.Object.Kind+": the bus has lost it") || !strings.HasSuffix(end.text, "submit the job again") {
			t.Errorf("%s: %q", end.reason, end.text)
		}
	}
	if _, err = b.materialOf(t.Context(), birth("topology", "poem", content)); err == nil || !strings.Contains(err.Error(), `"poem"`) {
		t.Errorf("%v", err)
	}
}

// TestMaterialWaits for a bus that is away, as long as the worker works.
func TestMaterialWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.bus.PutObject(t.Context(), "a", "j1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	b.server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.materialOf(ctx, &bus.Birth{Job: jobs.Job{ID: "j1", Action: jobs.Up}, Object: bus.RefOf(bus.ObjectBundle, []byte("x"))})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond): // several tries
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
}

func TestMaterialFetched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Bool
	internal := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	_ = internal.Listener.Close()
	internal.Listener = listener
	internal.Start()
	t.Cleanup(internal.Close)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/topology.yml":
			if r.URL.RawQuery != "token=hunter2" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = w.Write([]byte("nodes: [ r1 ]\n"))
		case "/empty":
		case "/list":
			_, _ = w.Write([]byte("- r1\n"))
		case "/page":
			_, _ = w.Write([]byte("<!doctype html>\n<html><body>\n\t<p>: no: topology: {\n"))
		case "/bomb":
			_, _ = w.Write([]byte("a: &a [x,x,x,x,x,x,x,x,x,x]\n"))
			for c := 'b'; c < 'i'; c++ {
				p := string(c - 1)
				_, _ = w.Write([]byte(string(c) + ": &" + string(c) + " [*" + strings.Repeat(p+",*", 9) + p + "]\n"))
			}
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte("a"), jobs.MaxTopologyBytes+1))
		case "/inside":
			http.Redirect(w, r, internal.URL+"/?token=hunter2", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	birth := func(url string) *bus.Birth {
		return &bus.Birth{Job: jobs.Job{ID: "j1", Action: jobs.Up}, SealedURL: b.sealURL(url)}
	}
	m, err := b.materialOf(t.Context(), birth(s.URL+"/topology.yml?token=hunter2"))
	wantMaterial(t, m, err, material{topology: "nodes: [ r1 ]\n"})
	for path, words := range map[string]string{
		"/empty":  "nothing in it",
		"/list":   "not a YAML mapping",
		"/page":   "not YAML",
		"/bomb":   "aliases written out",
		"/large":  "larger than 4194304 bytes",
		"/inside": "internal address",
		"/none":   "status 404",
	} {
		_, err := b.materialOf(t.Context(), birth(s.URL+path+"?token=hunter2"))
		wantInvalid(t, err, "topologyUrl: ", words)
	}
	if reached.Load() {
		t.Error("an address that is not allowed was reached")
	}
	// Sealed to another host.
	other := setup(t)
	_, err = b.materialOf(t.Context(), &bus.Birth{Job: jobs.Job{ID: "j1", Action: jobs.Up}, SealedURL: other.sealURL(s.URL)})
	wantInvalid(t, err, "topologyUrl: ", "sealed to another key")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = b.materialOf(ctx, birth(s.URL+"/topology.yml")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
