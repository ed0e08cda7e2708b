package e2e_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// chatter is a working directory whose Netlab runs talk as the options say.
func (f *fleet) chatter(name string, options object) string {
	f.t.Helper()
	dir := f.lab(name, "chatter")
	data, err := json.Marshal(options)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "chatter.json"), data, 0o644); err != nil {
		f.t.Fatal(err)
	}
	return dir
}

// connect is a client of the bus as any subscriber would be.
func (f *fleet) connect(t *testing.T) *nats.Conn {
	t.Helper()
	opts := []nats.Option{nats.Timeout(patience)}
	if f.busKey != "" {
		key, err := nats.NkeyOptionFromSeed(f.busKey)
		if err != nil {
			t.Fatal(err)
		}
		opts = append(opts, key)
	}
	nc, err := nats.Connect(f.busURL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// busLog reads a job's log from the stream, checking that every chunk begins where the last one ended, and is text by itself.
func (f *fleet) busLog(t *testing.T, id string) string {
	t.Helper()
	js, err := jetstream.New(f.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, "NETLAB_LOGS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"netlab.jobs.*." + id + ".log"}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for left := consumer.CachedInfo().NumPending; left > 0; left-- {
		m, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Headers().Get("Netlab-Offset"); got != strconv.Itoa(log.Len()) {
			t.Errorf("chunk at offset %s, want %d", got, log.Len())
		}
		if len(m.Data()) > 64<<10 || !utf8.Valid(m.Data()) {
			t.Errorf("a chunk of %d bytes at offset %d, text: %t", len(m.Data()), log.Len(), utf8.Valid(m.Data()))
		}
		log.Write(m.Data())
	}
	return log.String()
}

func TestLogIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		parts := []string{
			"\x00 10 %\r100 %\r\n\x1b[1mbold\x1b[0m\a\b\v\f\x7f\u0085\u2028",
			"\u20ac"[:2], "\u20ac"[2:], // longer apart than a line waits for its end
			"\xff\n",
			strings.Repeat("\u20ac", 1<<20/3), // with no end: no chunk of it ends with a whole number of them
		}
		dir := f.chatter("talk", object{"lines": 5000, "bytes": 100, "parts": asLatin1(parts)})
		job, want := f.any().run(t, jobs.Success, object{"action": "create", "workdir": dir})
		if n := strings.Count(want, "chatter "); n < 5000 {
			t.Fatalf("%d lines of 5000", n)
		}
		if !strings.Contains(want, strings.ToValidUTF8(strings.Join(parts, ""), "\ufffd")) {
			t.Errorf("the log has not what was written, but %.300q", want[strings.LastIndex(want, "chatter "):])
		}
		if job.LogBytes != int64(len(want)) {
			t.Errorf("logBytes %d, the log has %d", job.LogBytes, len(want))
		}
		same := func(what, got string) {
			t.Helper()
			if got != want {
				t.Errorf("%s differs: %d bytes, want %d", what, len(got), len(want))
			}
		}
		same("the log on the bus", f.busLog(t, job.ID))
		for _, a := range f.apis {
			job, text := a.finish(t, job.ID)
			same("the text", text)
			content, err := os.ReadFile(job.LogPath)
			if err != nil {
				t.Fatal(err)
			}
			same("the file", string(content))
			same("the JSON", a.jsonLog(t, job.ID, 0).Log)
			same("the events", a.eventLog(t, job.ID, "", jobs.Success))
			half := len(want) / 2
			for ; !utf8.RuneStart(want[half]); half-- { // which a client of text can resume at
			}
			rest := a.jsonLog(t, job.ID, half)
			same("the JSON, resumed", want[:half]+rest.Log)
			if rest.Offset != int64(len(want)) || rest.State != jobs.Success {
				t.Errorf("offset %d, state %s", rest.Offset, rest.State)
			}
			same("the events, resumed", want[:half]+a.eventLog(t, job.ID, strconv.Itoa(half), jobs.Success))
			_, tail := a.do(t, "GET", fmt.Sprintf("/jobs/%s/log?follow=true&offset=%d", job.ID, half), nil)
			same("the text, resumed", want[:half]+string(tail))
		}
	})
}

// A log of 24 MB, or of so many as NETLAB_TEST_LOG says, is whole: over HTTP, on the bus and in the file of the API it has every byte
// that was written.
func TestALargeLogIsWhole(t *testing.T) {
	t.Parallel()
	megabytes := 24
	if wanted := os.Getenv("NETLAB_TEST_LOG"); wanted != "" {
		var err error
		if megabytes, err = strconv.Atoi(wanted); err != nil {
			t.Fatalf("NETLAB_TEST_LOG: %v", err)
		}
	}
	f := split(t)
	dir := f.chatter("large", object{"lines": megabytes * 1000, "bytes": 1000, "gate": "gate"})
	job := f.any().submit(t, object{"action": "create", "workdir": dir, "host": "alpha"})
	follower := f.apis[0].open(t, "GET", "/jobs/"+job.ID+"/log?follow=true", nil)
	defer follower.Body.Close()
	f.any().await(t, job.ID, "at its gate", func(*jobs.Job) bool { return exists(t, dir, "gate.reached") })
	// What was written goes with the job's end.
	output := f.path("output")
	if err := os.Link(f.path("worker-alpha", "jobs", job.ID, "output"), output); err != nil {
		t.Fatal(err)
	}
	openGate(t, dir)
	followed := measure(t, follower.Body)
	ended, _ := f.any().finish(t, job.ID)
	written, err := os.Open(output)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	want := measure(t, written)
	if ended.State != jobs.Success || ended.LogBytes != want.size || want.size < int64(megabytes)*1_000_000 || len(ended.Warnings) > 0 {
		t.Errorf("%s, %d bytes of log, %d were written; warnings %q", ended.State, ended.LogBytes, want.size, ended.Warnings)
	}
	got := map[string]measured{"a follower has": followed, "the bus has": measure(t, strings.NewReader(f.busLog(t, job.ID)))}
	for n, a := range f.apis {
		whole := a.open(t, "GET", "/jobs/"+job.ID+"/log", nil, "Accept", "text/plain")
		defer whole.Body.Close()
		got[fmt.Sprintf("API %d gives", n)] = measure(t, whole.Body)
	}
	for what, got := range got {
		if got != want {
			t.Errorf("%s %d bytes with the hash %.8x, written were %d with %.8x", what, got.size, got.hash, want.size, want.hash)
		}
	}
}

// measured tells two texts from each other that are too long to be shown.
type measured struct {
	size int64
	hash [sha256.Size]byte
}

func measure(t *testing.T, text io.Reader) (m measured) {
	t.Helper()
	hash := sha256.New()
	n, err := io.Copy(hash, text)
	if err != nil {
		t.Error(err)
	}
	m.size = n
	copy(m.hash[:], hash.Sum(nil))
	return m
}

// asLatin1 has each byte be a character, as the chatter takes what is no text.
func asLatin1(parts []string) (list []string) {
	for _, part := range parts {
		runes := make([]rune, len(part))
		for i := range len(part) {
			runes[i] = rune(part[i])
		}
		list = append(list, string(runes))
	}
	return list
}

type jsonLog struct {
	Log    string     `json:"log"`
	Offset int64      `json:"offset"`
	State  jobs.State `json:"state"`
}

func (a *api) jsonLog(t *testing.T, id string, offset int) (log jsonLog) {
	t.Helper()
	status, body := a.do(t, "GET", fmt.Sprintf("/jobs/%s/log?offset=%d", id, offset), nil, "Accept", "application/json")
	if status != http.StatusOK {
		t.Fatalf("JSON log: %d %s", status, body)
	}
	if err := json.Unmarshal(body, &log); err != nil {
		t.Fatal(err)
	}
	return log
}

// eventLog reads the log as Server-Sent Events behind lastID up to the end event, which must show the state.
func (a *api) eventLog(t *testing.T, id, lastID string, state jobs.State) string {
	t.Helper()
	header := []string{"Accept", "text/event-stream"}
	if lastID != "" {
		header = append(header, "Last-Event-ID", lastID)
	}
	response := a.open(t, "GET", "/jobs/"+id+"/log", nil, header...)
	defer response.Body.Close()
	var log strings.Builder
	var event string
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			event = value
		case field == "data" && event == "log":
			var text string
			if err := json.Unmarshal([]byte(value), &text); err != nil {
				t.Fatalf("event data %q: %v", value, err)
			}
			log.WriteString(text)
		case field == "data" && event == "end":
			if want := fmt.Sprintf(`{"state":%q}`, state); value != want {
				t.Errorf("end event %s, want %s", value, want)
			}
			return log.String()
		}
	}
	t.Fatalf("the events ended without an end event: %v", lines.Err())
	return ""
}

func TestLogStreamsWhileNetlabRuns(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		dir := f.chatter("live", object{"lines": 3, "gate": "gate"})
		job := f.any().submit(t, object{"action": "create", "workdir": dir})
		// The other API relays it just as well.
		response := f.apis[0].open(t, "GET", "/jobs/"+job.ID+"/log", nil, "Accept", "text/plain")
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "chatter 3 of 3") {
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		f.any().await(t, job.ID, "running, with its phase", func(j *jobs.Job) bool {
			return j.State == jobs.Running && j.Phase != "" && j.StartedAt != nil
		})
		openGate(t, dir)
		for lines.Scan() {
		}
		if job, _ := f.any().finish(t, job.ID); job.State != jobs.Success {
			t.Errorf("%s", job.State)
		}
	})
}

func openGate(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A subscriber of the public subjects sees a job's life in order, as text and JSON.
func TestSubscriberSeesTheLifeOfAJob(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		dir := f.chatter("life", object{"lines": 2})
		nc := f.connect(t)
		sub, err := nc.SubscribeSync("netlab.jobs.>")
		if err == nil {
			err = nc.Flush() // the server knows of it now
		}
		if err != nil {
			t.Fatal(err)
		}
		job, log := f.any().run(t, jobs.Success, object{"action": "create", "workdir": dir})
		var kinds, states []string
		var text strings.Builder
		for {
			m, err := sub.NextMsg(patience)
			if err != nil {
				t.Fatal(err)
			}
			prefix := "netlab.jobs." + job.Host + "." + job.ID + "."
			kind, ok := strings.CutPrefix(m.Subject, prefix)
			if !ok {
				t.Errorf("subject %s", m.Subject)
			}
			kinds = append(kinds, kind)
			if kind == "log" {
				text.Write(m.Data)
				continue
			}
			var status jobs.Job
			if err := json.Unmarshal(m.Data, &status); err != nil {
				t.Fatal(err)
			}
			if got := m.Header["ce-type"]; len(got) != 1 || got[0] != "netlab.job."+string(status.State) {
				t.Errorf("ce-type %q of a job that is %s", got, status.State)
			}
			if n := len(states); n == 0 || states[n-1] != string(status.State) {
				states = append(states, string(status.State))
			}
			if status.State.Terminal() {
				break
			}
		}
		if diff := cmp.Diff([]string{"queued", "running", "success"}, states); diff != "" {
			t.Error(diff)
		}
		if kinds[0] != "request" || kinds[1] != "status" {
			t.Errorf("begins with %v", kinds[:2])
		}
		if text.String() != log {
			t.Errorf("the log seen has %d bytes, want %d", text.Len(), len(log))
		}
	})
}

// awaitLog waits until the job's log has the text.
func (a *api) awaitLog(t *testing.T, id, text string) {
	t.Helper()
	a.await(t, id, "saying "+text, func(j *jobs.Job) bool { return strings.Contains(a.jsonLog(t, j.ID, 0).Log, text) })
}
