package bus

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/formats"
)

// stored is a message as a stream has it. One of Text and JSON is there.
type stored[T any] struct {
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header"`
	Text    string      `json:"-"`
	JSON    T           `json:"json"`
}

// storedText is a message that is no JSON.
type storedText struct {
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header"`
	Text    string      `json:"text"`
}

// sampleTime is when all samples were written.
var sampleTime = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func encode(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// written is the message that the stream has under the subject when do was done, always the same one.
func written(t *testing.T, stream, subject string, do func(context.Context, *Bus) error) []byte {
	t.Helper()
	ctx, b := ready(t)
	b.source = "/hosts/alpha/workers/one"
	if err := do(ctx, b); err != nil {
		t.Fatal(err)
	}
	m, err := b.lastMessage(ctx, stream, subject)
	if err != nil {
		t.Fatal(err)
	}
	header := nats.Header{}
	for name, values := range m.Header {
		switch {
		case name == headerEventID && !strings.Contains(values[0], "."): // else it is made of what the message says
			header[name] = []string{"0f7a3f0e-6d2b-4d0b-9a53-0f0b1d6f7c11"}
		case name == headerTime:
			header[name] = []string{sampleTime.Format(time.RFC3339Nano)}
		case !strings.HasPrefix(name, "Nats-"):
			header[name] = values
		}
	}
	if json.Valid(m.Data) {
		return encode(t, stored[json.RawMessage]{Subject: subject, Header: header, JSON: m.Data})
	}
	return encode(t, storedText{subject, header, string(m.Data)})
}

// store puts a sample where the release has put it, and returns it as what it is.
func store(t *testing.T, sample []byte) (context.Context, *Bus, *stored[json.RawMessage]) {
	t.Helper()
	ctx, b := ready(t)
	var m stored[json.RawMessage]
	var text storedText
	if err := json.Unmarshal(sample, &m); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(sample, &text); err != nil {
		t.Fatal(err)
	}
	m.Text = text.Text
	data := []byte(m.Text)
	if m.JSON != nil {
		data = m.JSON
	}
	subject := strings.NewReplacer(public, intake, objectsPublic, objectsIntake).Replace(m.Subject)
	if _, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: m.Header, Data: data}); err != nil {
		t.Fatal(err)
	}
	return ctx, b, &m
}

// again is the sample with what was read of it.
func again(t *testing.T, m *stored[json.RawMessage], read any) []byte {
	t.Helper()
	data, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	m.JSON = data
	return encode(t, m)
}

func againText(t *testing.T, m *stored[json.RawMessage], text []byte) []byte {
	t.Helper()
	return encode(t, storedText{m.Subject, m.Header, string(text)})
}

// sampleJob has everything that a job may have.
func sampleJob(state jobs.State) *jobs.Job {
	text, code := "netlab up: no such image", 1
	return &jobs.Job{
		ID: "j1", Action: jobs.Up, State: state, Phase: "Starting clab nodes", Waiting: &jobs.Waiting{For: "job", Job: "j0", Position: 1},
		User: "ada", Workspace: "ws", Deployment: "dep", Workdir: "/home/ada/netlab/ws/dep", Host: "alpha", Placement: "it has the most room", Instance: "7",
		CreatedAt: sampleTime, StartedAt: &sampleTime, FinishedAt: &sampleTime, Error: &text, Reason: jobs.ReasonNetlabFailed,
		Errors: []jobs.Problem{{File: "topology.yml", Text: "no such device"}}, ExitCode: &code, LogPath: "/var/lib/j1.log", LogBytes: 12,
		Kept: &jobs.Kept{Files: 1, Bytes: 7}, CancelRequested: true, Warnings: []string{"unknown field x"},
		Request: jobs.Request{
			Action: jobs.Up, User: "ada", Workspace: "ws", Deployment: "dep", WorkspaceRoot: "/home/ada/netlab", Workdir: "/home/ada/netlab/ws/dep",
			Plugin: []string{"multilab"}, MultilabID: "7", Instance: "7", StateRoot: "/home/ada/state", TopologyPath: "topology.yml",
			TopologyURL: "https://example.net/topology.yml", Topology: &jobs.Content{Bytes: 9, SHA256: "a1"}, Bundle: &jobs.Content{Bytes: 9, SHA256: "a1"},
			CollectOutput: "config", CollectTar: "config.tar.gz", CollectCleanup: true, Cleanup: true,
			Environment: map[string]string{"TOKEN": jobs.Masked}, TimeoutSeconds: 60, Host: "alpha", Labels: map[string]string{"site": "x"},
		},
	}
}

// sampleSeed is the private half of the key that samples are sealed to.
const sampleSeed = "SXANK3WPAVYBMLEKTDLWSBESL6RQC3XMON3X3NI36JTUFZKTQVP5GWXELA"

func sampleSealed(t *testing.T, values map[string]string) *Sealed {
	t.Helper()
	public, err := sampleKey(t).Public()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealEnvironment(values, public)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func sampleKey(t *testing.T) *HostKey {
	t.Helper()
	file := filepath.Join(t.TempDir(), "host.key")
	if err := os.WriteFile(file, []byte(sampleSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := LoadHostKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What releases have written onto the bus is read as what it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	content := []byte("nodes: [ r1 ]\n")
	list := []formats.Format{
		{
			Name: "request.json", Type: stored[Birth]{},
			Sample: func(t *testing.T) []byte {
				ref := RefOf(ObjectTopology, content)
				ref.Attempt = "a1"
				birth := &Birth{
					Job: *sampleJob(jobs.Queued), Topology: string(content), Object: ref, SealedURL: sampleSealed(t, map[string]string{sealedURL: "https://example.net/?key=k"}),
					Keep: []string{"*.yml"}, Sealed: sampleSealed(t, map[string]string{"TOKEN": "correct-horse"}), Fingerprint: "f1",
				}
				return written(t, jobsStream, "netlab.jobs.alpha.j1.request", func(ctx context.Context, b *Bus) error {
					_, err := b.Submit(ctx, birth)
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				birth, _, err := b.Birth(ctx, "alpha", "j1")
				if err != nil {
					t.Fatal(err)
				}
				values, err := sampleKey(t).Open(birth.Sealed)
				url, urlErr := sampleKey(t).OpenURL(birth.SealedURL)
				if err != nil || urlErr != nil || values["TOKEN"] != "correct-horse" || url != "https://example.net/?key=k" {
					t.Errorf("sealed: %v, %v; %q, %v", values, err, url, urlErr)
				}
				return again(t, m, birth)
			},
		},
		{
			Name: "log.json", Type: storedText{},
			Sample: func(t *testing.T) []byte {
				return written(t, logsStream, "netlab.jobs.alpha.j1.log", func(ctx context.Context, b *Bus) error {
					_, err := b.PublishLog(ctx, &Chunk{Host: "alpha", Job: "j1", Offset: 7, Text: []byte("one\ntwo\n")}, 0)
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				chunk, err := b.LastChunk(ctx, "alpha", "j1")
				if err != nil || chunk.Offset != 7 {
					t.Fatalf("%+v, %v", chunk, err)
				}
				return againText(t, m, chunk.Text)
			},
		},
		{
			Name: "cancel.json", Type: stored[struct{}]{},
			Sample: func(t *testing.T) []byte {
				return written(t, jobsStream, "netlab.jobs.alpha.j1.cancel", func(ctx context.Context, b *Bus) error {
					_, err := b.RequestCancel(ctx, "alpha", "j1")
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, _ := store(t, sample)
				if is, err := b.CancelRequested(ctx, "alpha", "j1"); err != nil || !is {
					t.Errorf("%t, %v", is, err)
				}
				return sample
			},
		},
		{
			Name: "lease.json", Type: stored[hosts.Host]{},
			Sample: func(t *testing.T) []byte {
				host := &hosts.Host{
					Name: "alpha", Identity: "one", Online: true, Version: "1", StartedAt: sampleTime, Slots: 2, Running: 1, Queued: 1, Load: 0.5,
					Labels: map[string]string{"site": "x"}, Roots: []string{"/home"}, URLNetworks: []string{"10.1.0.0/16"}, Templates: "/srv", Unserved: true, PublicKey: "X", Error: "full",
					Netlab: hosts.Netlab{Version: "26.10", Python: "/usr/bin/python3", Error: "none"},
				}
				return written(t, hostsStream, "$KV.netlab_hosts.alpha", func(ctx context.Context, b *Bus) error {
					_, err := b.AcquireLease(ctx, host)
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				var host *hosts.Host
				_ = b.WatchHosts(ctx, func(e HostEvent) { host = e.Host }, cancel)
				return again(t, m, host)
			},
		},
		{
			Name: "placement.json", Type: storedText{},
			Sample: func(t *testing.T) []byte {
				return written(t, placesStream, "$KV.netlab_placements."+placeKey("/home/ada/lab"), func(ctx context.Context, b *Bus) error {
					_, _, err := b.Place(ctx, "/home/ada/lab", "alpha")
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				host, err := b.PlaceOf(ctx, "/home/ada/lab")
				if err != nil {
					t.Fatal(err)
				}
				return againText(t, m, []byte(host))
			},
		},
		{
			Name: "object.json", Type: storedText{},
			Sample: func(t *testing.T) []byte {
				return written(t, objectsStream, "netlab.objects.alpha.j1.0", func(ctx context.Context, b *Bus) error { return b.PutObject(ctx, "alpha", "j1", content) })
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				got, err := b.Object(ctx, "alpha", "j1", RefOf(ObjectTopology, content))
				if err != nil {
					t.Fatal(err)
				}
				return againText(t, m, got)
			},
		},
		{
			Name: "kept.json", Type: stored[KeptList]{},
			Sample: func(t *testing.T) []byte {
				list := &KeptList{
					Files:    []KeptFile{{Path: "clab.yml", Bytes: 7, Modified: sampleTime, ETag: "e1", Token: "0f7a3f0e-6d2b-4d0b-9a53-0f0b1d6f7c12"}},
					Warnings: []string{"x is too large"},
				}
				return written(t, objectsStream, "netlab.objects.alpha.j1.list.0", func(ctx context.Context, b *Bus) error { return b.PutKeptList(ctx, "alpha", "j1", list) })
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				list, err := b.KeptList(ctx, "alpha", "j1")
				if err != nil {
					t.Fatal(err)
				}
				return again(t, m, list)
			},
		},
		{
			Name:   "host.key",
			Sample: func(*testing.T) []byte { return []byte(sampleSeed) },
			Read: func(t *testing.T, sample []byte) []byte {
				file := filepath.Join(t.TempDir(), "host.key")
				if err := os.WriteFile(file, sample, 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := LoadHostKey(file); err != nil {
					t.Fatal(err)
				}
				return sample
			},
		},
	}
	for _, state := range jobs.States {
		list = append(list, formats.Format{
			Name: "status-" + string(state) + ".json", Type: stored[jobs.Job]{},
			Sample: func(t *testing.T) []byte {
				return written(t, jobsStream, "netlab.jobs.alpha.j1.status", func(ctx context.Context, b *Bus) error {
					_, err := b.PublishStatus(ctx, sampleJob(state), 0)
					return err
				})
			},
			Read: func(t *testing.T, sample []byte) []byte {
				ctx, b, m := store(t, sample)
				last, err := b.LastStatus(ctx, "alpha", "j1")
				if err != nil || last.Source != "/hosts/alpha/workers/one" {
					t.Fatalf("%+v, %v", last, err)
				}
				return again(t, m, last.Job)
			},
		})
	}
	formats.Check(t, list...)
}
