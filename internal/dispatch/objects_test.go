package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// keyed is a host that takes secrets, and its requests.
func (b *bundle) keyed(name string) *bus.HostKey {
	b.t.Helper()
	key, err := bus.LoadHostKey(b.t.TempDir() + "/key")
	if err != nil {
		b.t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		b.t.Fatal(err)
	}
	b.host(hosts.Host{Name: name, Slots: 9, PublicKey: public, URLNetworks: []string{"10.0.0.0/8"}})
	if err := b.bus.EnsureConsumer(b.t.Context(), name); err != nil {
		b.t.Fatal(err)
	}
	return key
}

// births takes n requests of a host.
func (b *bundle) births(host string, n int) map[string]*bus.Birth {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	births := map[string]*bus.Birth{}
	err := b.bus.TakeRequests(ctx, host, func() {}, func(_ context.Context, birth *bus.Birth, _ uint64) error {
		if births[birth.ID] = birth; len(births) == n {
			cancel()
		}
		return nil
	})
	if len(births) != n {
		b.t.Fatalf("%d births, want %d: %v", len(births), n, err)
	}
	return births
}

func TestLargeTopologiesAndBundlesGoBesideTheBirth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	small := "nodes: [ r1 ]\n#" + strings.Repeat("x", largeTopology-15)
	large := small + "x"
	archive := bytes.Repeat([]byte("\x1f\x8bpiece"), 100_000)
	want := map[string]func(birth *bus.Birth){}
	for _, text := range []string{small, large} {
		job, err := b.submit(map[string]any{"workdir": "/labs/x", "topology": text})
		if err != nil {
			t.Fatal(err)
		}
		want[job.ID] = func(birth *bus.Birth) {
			if len(text) <= largeTopology {
				if birth.Topology != text || birth.Object != nil {
					t.Errorf("a small one: %d bytes, %+v", len(birth.Topology), birth.Object)
				}
				return
			}
			if birth.Topology != "" || birth.Object == nil || birth.Object.Kind != bus.ObjectTopology {
				t.Fatalf("a large one: %d bytes, %+v", len(birth.Topology), birth.Object)
			}
			if got, err := b.bus.Object(t.Context(), "a", birth.ID, birth.Object); err != nil || string(got) != text {
				t.Errorf("a large one: %d bytes %v", len(got), err)
			}
		}
	}
	p, err := jobs.ParseWithBundle([]byte(`{"workdir":"/labs/y","environment":{"TOKEN":"correct-horse"}}`), archive)
	if err != nil {
		t.Fatal(err)
	}
	job, err := b.Submit(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want[job.ID] = func(birth *bus.Birth) {
		if birth.Object == nil || birth.Object.Kind != bus.ObjectBundle || birth.Sealed == nil || birth.Object.SHA256 != job.Request.Bundle.SHA256 {
			t.Fatalf("the bundle: %+v", birth)
		}
		if got, err := b.bus.Object(t.Context(), "a", birth.ID, birth.Object); err != nil || !bytes.Equal(got, archive) {
			t.Errorf("the bundle: %d bytes %v", len(got), err)
		}
	}
	for id, birth := range b.births("a", 3) {
		want[id](birth)
	}

	// The object of a job that has ended goes, that of another stays, and that of one that is just being born.
	if _, err := b.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.bus.PutObject(t.Context(), "a", "unborn", archive); err != nil {
		t.Fatal(err)
	}
	if err := b.sweepObjects(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.Object(t.Context(), "a", job.ID, bus.RefOf(bus.ObjectBundle, archive)); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("of the ended job: %v", err)
	}
	if _, err := b.bus.Object(t.Context(), "a", "unborn", bus.RefOf(bus.ObjectBundle, archive)); err != nil {
		t.Errorf("of a job that is not born yet: %v", err)
	}
	for id := range want {
		if id == job.ID {
			continue
		}
		if got, err := b.view.Job(t.Context(), id); err != nil || got.State != jobs.Queued {
			t.Errorf("%+v %v", got, err)
		} else if got.Request.Topology.Bytes > largeTopology {
			if _, err := b.bus.Object(t.Context(), "a", id, bus.RefOf(bus.ObjectTopology, []byte(large))); err != nil {
				t.Errorf("of the queued job: %v", err)
			}
		}
	}
}

// A job that cannot be born leaves no object.
func TestAJobThatIsNotBornLeavesNoObject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	archive := bytes.Repeat([]byte("x"), 1000)
	// As the birth of the same id on another host would be found.
	birth := &bus.Birth{Job: jobs.Job{ID: "j", Host: "a", State: jobs.Queued}}
	if _, err := b.bus.Submit(t.Context(), &bus.Birth{Job: jobs.Job{ID: "j", Host: "b", State: jobs.Queued}}); err != nil {
		t.Fatal(err)
	}
	if err := b.enclose(t.Context(), birth, &jobs.Payload{Bundle: archive}); err != nil {
		t.Fatal(err)
	}
	_, err := b.bus.Submit(t.Context(), birth)
	if !errors.Is(err, bus.ErrConflict) {
		t.Fatal(err)
	}
	b.discard(t.Context(), birth, err)
	if _, err := b.bus.Object(t.Context(), "a", "j", birth.Object); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

// A URL may be a secret by its query: only the host reads it.
func TestTopologyURLIsSealedToTheHost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.keyed("a")
	const url = "https://10.1.2.3/t.yml?token=hunter22"
	job, err := b.submit(map[string]any{"workdir": "/labs/x", "topologyUrl": url})
	if err != nil || job.Request.TopologyURL != "https://10.1.2.3/t.yml" {
		t.Fatalf("%+v %v", job, err)
	}
	birth := b.births("a", 1)[job.ID]
	text, err := json.Marshal(birth)
	if err != nil || strings.Contains(string(text), "hunter22") {
		t.Errorf("readable in %s (%v)", text, err)
	}
	if got, err := key.OpenURL(birth.SealedURL); err != nil || got != url {
		t.Errorf("opened: %q %v", got, err)
	}
	var invalid *jobs.Invalid
	if _, err := b.submit(map[string]any{"workdir": "/labs/x", "topologyUrl": "http://192.168.0.1/t.yml"}); !errors.As(err, &invalid) {
		t.Errorf("an internal address that the host does not allow: %v", err)
	}
}

// What there is no room for leaves nothing behind that takes room.
func TestABundleThereIsNoRoomFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	limits := bus.Limits{Replicas: 1, JobsBytes: 16 << 20, LogsBytes: 64 << 20, ObjectsBytes: 1 << 20, Lease: time.Minute}
	if err := b.bus.EnsureStreams(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	submit := func(size int) error {
		p, err := jobs.ParseWithBundle([]byte(`{"workdir":"/labs/y"}`), bytes.Repeat([]byte("x"), size))
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Submit(t.Context(), p)
		return err
	}
	if err := submit(2 << 20); !errors.Is(err, bus.ErrFull) || !strings.Contains(err.Error(), "NETLAB_BUS_OBJECTS_BYTES") {
		t.Errorf("%v, want ErrFull and the setting", err)
	}
	if n := b.view.Active("a"); n > 0 {
		t.Errorf("%d jobs", n)
	}
	if err := submit(700 << 10); err != nil {
		t.Errorf("one that there is room for: %v", err)
	}
}

// What jobs leave is kept by the patterns of the API at their birth, and swept with nothing to say that it was kept.
func TestKeptFilesOfJobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.keyed("a")
	b.keep = []string{"*.yml"}
	jobOf := map[string]string{}
	for _, action := range []string{"create", "status", "destroy"} {
		job, err := b.submit(map[string]any{"workdir": "/labs/" + action, "action": action})
		if err != nil {
			t.Fatal(err)
		}
		jobOf[action] = job.ID
	}
	births := b.births("a", 3)
	for action, want := range map[string]int{"create": 1, "status": 0, "destroy": 1} {
		if got := births[jobOf[action]].Keep; len(got) != want {
			t.Errorf("%s keeps %q", action, got)
		}
	}
	put := func(action string) {
		t.Helper()
		if _, err := b.bus.PutKept(t.Context(), "a", jobOf[action], "f", strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		if err := b.bus.PutKeptList(t.Context(), "a", jobOf[action], &bus.KeptList{}); err != nil {
			t.Fatal(err)
		}
	}
	end := func(action string, kept *jobs.Kept) {
		t.Helper()
		job := births[jobOf[action]].Job
		job.State, job.Kept = jobs.Success, kept
		seq, err := b.bus.PublishStatus(t.Context(), &job, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.view.Moved(&bus.JobMessage{Job: job, Seq: seq})
	}
	put("create") // under way
	put("destroy")
	end("destroy", nil) // given up
	put("status")
	end("status", &jobs.Kept{Files: 1})
	if err := b.sweepObjects(); err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]error{"create": nil, "status": nil, "destroy": bus.ErrNotFound} {
		if _, err := b.bus.KeptList(t.Context(), "a", jobOf[action]); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", action, err, want)
		}
	}
}
