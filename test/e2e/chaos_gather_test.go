package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// subscriber sees the public subjects as anybody does who is connected to the bus.
type subscriber struct {
	nc *nats.Conn

	mu   sync.Mutex
	seen []seenMessage
}

func (c *chaos) subscribe() *subscriber {
	c.t.Helper()
	s := &subscriber{}
	var err error
	s.nc, err = nats.Connect(c.observer.url(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(s.nc.Close)
	_, err = s.nc.Subscribe("netlab.jobs.>", func(m *nats.Msg) {
		seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			c.find(committed, "", "a message on %s has no sequence: somebody has published it there", m.Subject)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, seenMessage{streamPlace{m.Header.Get(jetstream.StreamHeader), seq}, m.Subject, sumOf(m.Subject, m.Data)})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// gather reads what the bus, the APIs and the hosts have in the end.
func (c *chaos) gather(s *subscriber, customers []*customer, heard map[string][]told) *evidence {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), calm)
	defer cancel()
	e := &evidence{
		jobs: map[string]*jobRecord{}, keys: map[string][]string{}, tally: c.readTally(), heard: heard,
		stored: map[streamPlace]uint32{}, full: map[string][]span{},
	}
	for _, k := range customers {
		e.tries = append(e.tries, k.tries...)
		for key, ids := range k.keys {
			e.keys[key] = append(e.keys[key], ids...)
		}
		for _, j := range k.jobs {
			e.record(j.id).client = j
		}
	}
	for _, h := range c.hosts {
		e.full[h.host] = c.fullTimes[h.name]
	}
	c.readStreams(ctx, s, e)
	s.mu.Lock()
	e.seen = s.seen
	s.mu.Unlock()
	k := newAsker(c, "the end")
	for id, r := range e.jobs {
		for _, a := range c.apis {
			r.views = append(r.views, c.view(ctx, k, a, id))
		}
	}
	return e
}

func (e *evidence) record(id string) *jobRecord {
	if e.jobs[id] == nil {
		e.jobs[id] = &jobRecord{id: id}
	}
	return e.jobs[id]
}

// readStreams reads every message of every job.
func (c *chaos) readStreams(ctx context.Context, s *subscriber, e *evidence) {
	c.t.Helper()
	js, err := jetstream.New(s.nc)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, stream := range []string{"NETLAB_JOBS", "NETLAB_LOGS"} {
		consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
		if err != nil {
			c.t.Fatal(err)
		}
		left := consumer.CachedInfo().NumPending
		messages, err := consumer.Messages()
		if err != nil {
			c.t.Fatal(err)
		}
		stop := context.AfterFunc(ctx, messages.Stop)
		for ; left > 0; left-- {
			m, err := messages.Next()
			if err != nil {
				c.t.Fatal(err)
			}
			if err := e.take(stream, m); err != nil {
				c.t.Fatalf("%s: %v", m.Subject(), err)
			}
		}
		stop()
		messages.Stop()
	}
}

func (e *evidence) take(stream string, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	seq := meta.Sequence.Stream
	e.stored[streamPlace{stream, seq}] = sumOf(m.Subject(), m.Data())
	tokens := strings.Split(m.Subject(), ".")
	if len(tokens) != 5 {
		return fmt.Errorf("not the subject of a job")
	}
	r := e.record(tokens[3])
	switch tokens[4] {
	case "request":
		r.births = append(r.births, birthRecord{seq: seq})
		err = json.Unmarshal(m.Data(), &r.births[len(r.births)-1].job)
	case "status":
		r.statuses = append(r.statuses, statusRecord{seq: seq, at: meta.Timestamp, source: m.Headers().Get("ce-source")})
		err = json.Unmarshal(m.Data(), &r.statuses[len(r.statuses)-1].job)
	case "log":
		chunk := chunkRecord{seq: seq, at: meta.Timestamp, text: string(m.Data())}
		chunk.offset, err = strconv.ParseInt(m.Headers().Get("Netlab-Offset"), 10, 64)
		r.chunks = append(r.chunks, chunk)
	}
	return err
}

// view reads a job and its log in every form at one API.
func (c *chaos) view(ctx context.Context, k *asker, a *chaosAPI, id string) jobView {
	v := jobView{api: a.name, logs: map[string]string{}}
	get := func(path string, header ...string) []byte {
		r, err := k.ask(ctx, a, "GET", path, nil, header...)
		if err != nil || r.status != http.StatusOK {
			c.find(recovered, id, "GET %s at %s: %v %+v", path, a.name, err, r)
			return nil
		}
		return r.body
	}
	body := get("/jobs/" + id)
	v.document = comparable(body)
	_ = json.Unmarshal(body, &v.job)
	if !v.job.State.Terminal() {
		return v // found elsewhere; its log has no end
	}
	log := "/jobs/" + id + "/log"
	v.logs["text"] = string(get(log + "?follow=false"))
	v.logs["followed text"] = string(get(log + "?follow=true"))
	var document jsonLog
	_ = json.Unmarshal(get(log, "Accept", "application/json"), &document)
	v.logs["JSON"] = document.Log
	v.logs["events"] = textOfEvents(get(log, "Accept", "text/event-stream"))
	content, err := os.ReadFile(v.job.LogPath)
	if err != nil && !os.IsNotExist(err) { // of an empty log there need be none
		c.find(recovered, id, "the file of the log at %s: %v", a.name, err)
	}
	v.logs["file"] = string(content)
	return v
}

// textOfEvents is the log in a stream of events.
func textOfEvents(body []byte) string {
	var text strings.Builder
	events := newSSE(bytes.NewReader(body))
	for e, err := events.next(); err == nil; e, err = events.next() {
		var piece string
		if e.name == "log" {
			_ = json.Unmarshal([]byte(e.data), &piece) // what cannot be read is missing
		}
		text.WriteString(piece)
	}
	return text.String()
}

// ready waits until an API serves and knows every host.
func (c *chaos) ready(ctx context.Context, k *asker, a *chaosAPI) bool {
	return c.await(ctx, a.name+" to be ready with every host", func() string {
		r, err := k.ask(ctx, a, "GET", "/readyz", nil)
		if err != nil || r.status != http.StatusOK {
			return fmt.Sprintf("%v %+v", err, r)
		}
		if r, err = k.ask(ctx, a, "GET", "/hosts", nil); err != nil {
			return err.Error()
		}
		var list struct{ Hosts []hosts.Host }
		if err := json.Unmarshal(r.body, &list); err != nil {
			return err.Error()
		}
		if online := slices.DeleteFunc(list.Hosts, func(h hosts.Host) bool { return !h.Online }); len(online) < len(c.hosts) {
			return string(r.body)
		}
		return ""
	})
}

// settle waits until all that was accepted has ended and everything is there. What is missing then is found.
func (c *chaos) settle(ctx context.Context) {
	c.t.Helper()
	k := newAsker(c, "the end")
	for _, a := range c.apis {
		c.ready(ctx, k, a)
		for _, state := range []jobs.State{jobs.Queued, jobs.Running} {
			c.await(ctx, fmt.Sprintf("%s to have no job that is %s", a.name, state), func() string {
				r, err := k.ask(ctx, a, "GET", "/jobs?state="+string(state), nil)
				if err != nil {
					return err.Error()
				}
				var list struct{ Jobs []jobs.Job }
				if err := json.Unmarshal(r.body, &list); err != nil || len(list.Jobs) > 0 || r.status != http.StatusOK {
					return fmt.Sprintf("%d %s", r.status, r.body)
				}
				return ""
			})
		}
	}
	for _, h := range c.hosts {
		c.await(ctx, h.name+" to have an empty journal", func() string {
			left, err := os.ReadDir(filepath.Join(h.dataDir, "jobs"))
			switch {
			case err != nil:
				return err.Error()
			case len(left) > 0:
				return fmt.Sprint(left)
			}
			return ""
		})
	}
}

// await waits until missing has nothing to say, and says whether that was in time.
func (c *chaos) await(ctx context.Context, what string, missing func() string) bool {
	for {
		left := missing()
		if left == "" {
			return true
		}
		if !sleep(ctx, 100*time.Millisecond) {
			c.find(recovered, "", "waited in vain for %s: %.2000s", what, left)
			return false
		}
	}
}
