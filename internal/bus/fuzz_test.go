package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// The kinds of messages that FuzzMessages reads.
const (
	fuzzedJob = iota
	fuzzedBirth
	fuzzedChunk
	fuzzedLease
	fuzzedObject
	fuzzedReply
	fuzzedSealed
	fuzzedKinds
)

// FuzzMessages takes any bytes for each kind of message that another program puts on the bus. header is that header of the
// message which matters for its kind.
func FuzzMessages(f *testing.F) {
	const job = `{"id":"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0","host":"h1","state":"running","action":"up","createdAt":"2026-01-02T03:04:05Z","request":{"action":"up"}`
	for _, seed := range []struct {
		kind            uint8
		subject, header string
		data            string
	}{
		{fuzzedJob, "netlab.jobs.h1.0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.status", "/worker", job + "}"},
		{fuzzedJob, "netlab.jobs.h1.x.request", "", `{"id":"x","host":"h1","state":"queued","startedAt":"9999-12-31T23:59:59-12:00","errors":[{}],"warnings":null}`},
		{fuzzedBirth, "netlab.jobs.h1.0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.request", "", job + `,"topologyText":"a: b","sealed":{"key":"X","data":"AA=="},"object":{"kind":"bundle","bytes":-1}}`},
		{fuzzedChunk, "netlab.jobs.h1.j.log", "0", "text\n"},
		{fuzzedChunk, "netlab.jobs.h1.j.log", "9223372036854775807", "x"},
		{fuzzedLease, "h1", "", `{"name":"h1","identity":"i","slots":-1,"roots":["/home"],"labels":{"a":"b"},"urlNetworks":["10.0.0.0/8"],"startedAt":"2026-01-02T03:04:05Z"}`},
		{fuzzedObject, "", "2", "a piece"},
		{fuzzedObject, "", "99999999999", ""},
		{fuzzedReply, "", "1", "an answer"},
		{fuzzedReply, "", "", ""},
		{fuzzedSealed, "", "XAUAR4VQKGP2HDPLX7YBVEZ3WVS6JSQ4ZG4J3TLRY6P2X4QXGTOXKAGO", "\x78\x6b\x76\x31sealed"},
	} {
		f.Add(seed.kind, seed.subject, seed.header, []byte(seed.data))
	}
	file := f.TempDir() + "/key"
	key, err := LoadHostKey(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind uint8, subject, header string, data []byte) {
		switch kind % fuzzedKinds {
		case fuzzedJob:
			fuzzJob(t, subject, header, data)
		case fuzzedBirth:
			fuzzBirth(t, subject, data)
		case fuzzedChunk:
			c, err := decodeChunk("h", "j", nats.Header{HeaderOffset: {header}}, data, 7)
			if err == nil && (c.Offset < 0 || c.End() < c.Offset || c.End()-c.Offset != int64(len(data))) {
				t.Fatalf("a chunk from %d to %d", c.Offset, c.End())
			}
		case fuzzedLease:
			if h, err := decodeLease(subject, data); err == nil {
				if h.Name != subject || hosts.ValidName(h.Name) != nil {
					t.Fatalf("a lease of %q under %q", h.Name, subject)
				}
				encodes(t, h)
			}
		case fuzzedObject:
			fuzzObject(t, header, data)
		case fuzzedReply:
			fuzzReply(t, header, data)
		case fuzzedSealed:
			if values, err := key.Open(&Sealed{Key: header, Data: data}); err == nil {
				t.Fatalf("opened what nobody sealed: %q", values)
			}
		}
	})
}

// encodes says that what was read can be shown.
func encodes(t *testing.T, v any) {
	t.Helper()
	if _, err := json.Marshal(v); err != nil {
		t.Fatalf("%+v was read and cannot be shown: %v", v, err)
	}
}

func fuzzJob(t *testing.T, subject, source string, data []byte) {
	t.Helper()
	m, err := decodeJobOf(subject, nats.Header{headerSource: {source}}, data, 7)
	if err != nil {
		return
	}
	host, id, kind, ok := subjectTokens(subject)
	if !ok || m.ID != id || m.Host != host || m.Birth != (kind == kindRequest) || !slices.Contains(jobs.States, m.State) {
		t.Fatalf("%+v under %s", m, subject)
	}
	encodes(t, &m.Job)
}

func fuzzBirth(t *testing.T, subject string, data []byte) {
	t.Helper()
	birth, err := decodeBirth(subject, data)
	if err != nil {
		return
	}
	if host, id, _, ok := subjectTokens(subject); !ok || birth.ID != id || birth.Host != host || !jobs.ValidID(id) {
		t.Fatalf("%+v under %s", birth, subject)
	}
	encodes(t, birth)
}

// fuzzObject reads pieces that all are the same.
func fuzzObject(t *testing.T, header string, data []byte) {
	t.Helper()
	n, _ := strconv.Atoi(header)
	whole := bytes.Repeat(data, max(min(n, 8), 1))
	ref, asked := RefOf(ObjectBundle, whole), 0
	content, err := ref.join(func(int) (nats.Header, []byte, error) {
		asked++
		return nats.Header{headerPieces: {header}}, data, nil
	})
	if asked > MaxObject/pieceSize+1 {
		t.Fatalf("asked for %d pieces", asked)
	}
	if err == nil && !bytes.Equal(content, whole) {
		t.Fatalf("%q of pieces %q, want %q", content, data, whole)
	}
	if err != nil && (!errors.Is(err, ErrNotFound) || n >= 1 && n <= 8) {
		t.Fatalf("%d pieces: %v", n, err)
	}
}

// fuzzReply reads pieces until there are enough. header is what the first ones say of there being more.
func fuzzReply(t *testing.T, header string, data []byte) {
	t.Helper()
	r := &reply{host: "h"}
	for n := 1; ; n++ {
		h := nats.Header{headerMore: {header}}
		if bytes.HasPrefix(data, []byte("error")) {
			h[headerError] = []string{string(data)}
		}
		whole, err := r.add(h, data)
		var refusal *HostError
		switch {
		case err != nil && !errors.As(err, &refusal):
			t.Fatal(err)
		case err != nil:
			return
		case whole != (header == "") || r.text.Len() != n*len(data):
			t.Fatalf("piece %d: whole %v with %d bytes", n, whole, r.text.Len())
		case whole:
			return
		case n > replyPieces:
			t.Fatalf("%d pieces, and no end", n)
		}
	}
}
