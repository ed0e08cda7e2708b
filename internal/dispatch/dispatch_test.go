package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/bustest"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/retention"
	"netlab-runner/internal/view"
)

type bundle struct {
	t      *testing.T
	bus    *bus.Bus
	server *embedded.Server
	view   *view.View
	*Dispatcher
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupWith(t, time.Minute)
}

// setupWith is setup with a lease of hosts.
func setupWith(t *testing.T, lease time.Duration) *bundle {
	t.Helper()
	b, server := bustest.NewServer(t)
	logs, err := logfile.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(b, logs, t.TempDir()+"/cursor", lease, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return &bundle{t: t, bus: b, server: server, view: v, Dispatcher: New(b, v, nil)}
}

// sweepObjects removes what ended jobs have left of what came with them.
func (b *bundle) sweepObjects() error {
	return retention.New(retention.Config{Bus: b.bus, View: b.view}).SweepObjects(b.t.Context())
}

// host announces one and waits until the view has it.
func (b *bundle) host(h hosts.Host) *bus.Lease {
	b.t.Helper()
	h.Identity = "of " + h.Name
	if h.Roots == nil {
		h.Roots = []string{"/labs"}
	}
	lease, err := b.bus.AcquireLease(b.t.Context(), &h)
	if err != nil {
		b.t.Fatal(err)
	}
	b.await(func() bool { got, _ := b.view.Host(h.Name); return got.Online })
	return lease
}

func (b *bundle) await(ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatal("never happened")
}

func payload(t *testing.T, fields map[string]any) *jobs.Payload {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	p, err := jobs.ParsePayload(body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bundle) submit(fields map[string]any) (jobs.Job, error) {
	b.t.Helper()
	return b.Submit(b.t.Context(), payload(b.t, fields))
}

func (b *bundle) placed(want string, fields map[string]any) {
	b.t.Helper()
	job, err := b.submit(fields)
	if err != nil {
		b.t.Fatalf("%v: %v", fields, err)
	}
	if job.Host != want {
		b.t.Errorf("%v: on %s, want %s (%s)", fields, job.Host, want, job.Placement)
	}
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.submit(map[string]any{"workdir": "/labs/x"}); !errors.Is(err, ErrNoHost) {
		t.Fatalf("without a host: %v", err)
	}
	b.host(hosts.Host{Name: "small", Slots: 1, Labels: map[string]string{"zone": "a"}})
	large := b.host(hosts.Host{Name: "large", Slots: 3, Labels: map[string]string{"zone": "b"}, Roots: []string{"/labs", "/more"}})
	b.host(hosts.Host{Name: "broken", Slots: 99, Netlab: hosts.Netlab{Error: "no Netlab"}})

	// The most room, of those with a Netlab that works.
	b.placed("large", map[string]any{"workdir": "/labs/one"})
	b.placed("large", map[string]any{"workdir": "/labs/two"})
	// Now as much room as the other; its jobs count at once, not with the next lease.
	b.placed("large", map[string]any{"workdir": "/labs/three"})
	b.placed("small", map[string]any{"workdir": "/labs/four"})
	// Where the directory is.
	b.placed("large", map[string]any{"action": "down", "workdir": "/labs/one"})
	b.placed("large", map[string]any{"action": "status", "workdir": "/labs/one"})
	// As asked for, and then there.
	b.placed("small", map[string]any{"workdir": "/labs/five", "host": "small"})
	b.placed("small", map[string]any{"workdir": "/labs/five"})
	b.placed("small", map[string]any{"workdir": "/labs/six", "labels": map[string]string{"zone": "a"}})
	// A lab that is moved by name is where it was moved to.
	b.placed("large", map[string]any{"workdir": "/labs/five", "host": "large"})
	b.placed("large", map[string]any{"action": "down", "workdir": "/labs/five"})
	// Only one has the root.
	b.placed("large", map[string]any{"workdir": "/more/x"})

	var placed *PlacedError
	if _, err := b.submit(map[string]any{"workdir": "/labs/six", "labels": map[string]string{"zone": "b"}}); !errors.As(err, &placed) || placed.Host != "small" {
		t.Errorf("a directory that is elsewhere: %v", err)
	}
	if err := large.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.await(func() bool { h, _ := b.view.Host("large"); return !h.Online })
	for _, fields := range []map[string]any{{"workdir": "/labs/one"}, {"workdir": "/labs/new", "host": "large"}} {
		if _, err := b.submit(fields); !errors.As(err, &placed) || placed.Host != "large" || !strings.Contains(err.Error(), "offline") {
			t.Errorf("%v: %v, want a PlacedError", fields, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	for field, fields := range map[string]map[string]any{
		"host":          {"workdir": "/labs/x", "host": "nowhere"},
		"labels":        {"workdir": "/labs/x", "labels": map[string]string{"zone": "a"}},
		"workdir":       {"workdir": "/etc/x"},
		"topologyUrl":   {"workdir": "/labs/x", "topologyUrl": "http://127.0.0.1/t.yml"},
		"workspaceRoot": {"workspaceRoot": "/etc", "workspace": "w", "deployment": "d"},
	} {
		_, err := b.submit(fields)
		var invalid *jobs.Invalid
		if !errors.As(err, &invalid) || len(invalid.Faults) != 1 || invalid.Faults[0].Field != field {
			t.Errorf("%v: %v, want a fault of %s", fields, err, field)
		}
	}
	if page, _, err := b.view.Page(view.Filter{}, 10, ""); err != nil || len(page) != 0 {
		t.Errorf("jobs of refused requests: %v %v", page, err)
	}
}

// Two APIs that place one directory at the same moment agree.
func TestTwoDispatchersAgree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1})
	b.host(hosts.Host{Name: "b", Slots: 1})
	other := New(b.bus, b.view, nil)
	type result struct {
		job jobs.Job
		err error
	}
	results := make(chan result, 20)
	for i := range 20 {
		d := b.Dispatcher
		if i%2 == 1 {
			d = other
		}
		p := payload(t, map[string]any{"workdir": "/labs/x"})
		go func() {
			job, err := d.Submit(t.Context(), p)
			results <- result{job, err}
		}()
	}
	on := map[string]int{}
	for range 20 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		on[r.job.Host]++
	}
	if len(on) != 1 {
		t.Errorf("one directory on %v", on)
	}
}

func TestSecretsAreSealedToTheHost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key, err := bus.LoadHostKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	b.host(hosts.Host{Name: "a", Slots: 1, PublicKey: public})
	if err := b.bus.EnsureConsumer(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	job, err := b.submit(map[string]any{"workdir": "/labs/x", "topology": "nodes: [ r1 ]", "environment": map[string]string{"TOKEN": "correct-horse"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	taken := false
	err = b.bus.TakeRequests(ctx, "a", func() {}, func(_ context.Context, birth *bus.Birth, _ uint64) error {
		defer cancel()
		taken = true
		text, err := json.Marshal(birth)
		if err != nil || strings.Contains(string(text), "correct-horse") {
			t.Errorf("the value is readable in %s (%v)", text, err)
		}
		values, err := key.Open(birth.Sealed)
		if err != nil || values["TOKEN"] != "correct-horse" {
			t.Errorf("opened: %v %v", values, err)
		}
		if birth.ID != job.ID || birth.Topology != "nodes: [ r1 ]" {
			t.Errorf("birth %+v", birth)
		}
		return nil
	})
	if !taken || !errors.Is(err, context.Canceled) {
		t.Errorf("taken %v, %v", taken, err)
	}
}

func TestAHostWithoutAKeyTakesNoSecrets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.host(hosts.Host{Name: "a", Slots: 1, PublicKey: "none"})
	var placed *PlacedError
	if _, err := b.submit(map[string]any{"workdir": "/labs/x", "environment": map[string]string{"TOKEN": "correct-horse"}}); !errors.As(err, &placed) {
		t.Errorf("%v, want a PlacedError", err)
	}
}

// While the bus is away no host is heard of. That is no reason to tell a client that its host is offline.
func TestWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := setupWith(t, 2*time.Second)
	b.host(hosts.Host{Name: "a"})
	accepted, err := b.submit(map[string]any{"action": "create", "workdir": "/labs/x"})
	if err != nil {
		t.Fatal(err)
	}
	b.server.Stop()
	b.await(func() bool { got, _ := b.view.Host("a"); return !got.Online })
	for name, fields := range map[string]map[string]any{
		"no host": {"action": "create", "workdir": "/labs/x"}, "a host": {"action": "create", "workdir": "/labs/x", "host": "a"},
		"labels": {"action": "create", "workdir": "/labs/x", "labels": map[string]any{"a": "b"}},
	} {
		_, err := b.submit(fields)
		wantSilence(t, name, err)
	}
	_, err = b.Cancel(t.Context(), accepted.ID)
	wantSilence(t, "cancel", err)
}

// wantSilence wants the refusal of what is not even tried on a bus that has not answered of late.
func wantSilence(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "has not answered for") {
		t.Errorf("%s: %v", what, err)
	}
}
