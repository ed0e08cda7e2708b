package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// events reads Server-Sent Events one by one.
type events struct{ r *bufio.Reader }

func newEvents(o *opened) events { return events{o.body} }

// next returns the next event or comment, without its end; "" at the end of the stream.
func (e events) next(t *testing.T) string {
	t.Helper()
	var lines []string
	for {
		line, err := e.r.ReadString('\n')
		switch {
		case line == "\n":
			return strings.Join(lines, "\n")
		case errors.Is(err, io.EOF) && line == "" && len(lines) == 0:
			return ""
		case err != nil:
			t.Fatalf("%v in %q", err, append(lines, line))
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// Each line is read before the next one is written, so none may wait for another.
func TestFollowersReadEachLineAsItComes(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.submit(`{"action":"create","workdir":"/home/lab/one"}`)
	path := "/jobs/" + p.ID + "/log"
	// The headers come at once, with the job still in the queue.
	texts := map[string]*bufio.Reader{}
	for _, query := range []string{"", "?follow", "?offset=0&follow=true"} {
		resp := b.open(path+query, "Accept: */*")
		if resp.status != http.StatusOK || resp.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Fatalf("%d %v", resp.status, resp.header)
		}
		texts[query] = resp.body
	}
	resp := b.open(path, "Accept: text/event-stream")
	for name, want := range map[string]string{"X-Accel-Buffering": "no", "Cache-Control": "no-cache, no-transform", "Content-Encoding": "", "Etag": ""} {
		if got := resp.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	stream := newEvents(resp)
	p.move(jobs.Start)
	for i := range 50 {
		line := fmt.Sprintf("line %d │\n", i)
		// The server uses the memory of a request again while its stream goes on.
		b.isError(b.get("/jobs/"+strings.Repeat("x", len(p.ID))+"/log"), http.StatusNotFound, "not found")
		p.write(line)
		for query, r := range texts {
			if got, err := r.ReadString('\n'); err != nil || got != line {
				t.Fatalf("follower %q: %q, %v", query, got, err)
			}
		}
		if got, want := stream.next(t), fmt.Sprintf("event: log\nid: %d\ndata: \"line %d │\\n\"", p.LogBytes, i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	p.move(jobs.Cancel)
	for query, r := range texts {
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("follower %q at the end: %q, %v", query, rest, err)
		}
	}
	if got := stream.next(t); got != "event: end\ndata: {\"state\":\"canceled\"}" {
		t.Errorf("got %q", got)
	}
	if got := stream.next(t); got != "" {
		t.Errorf("%q after the end", got)
	}
}

// A line that is written in the very moment in which a follower begins to wait wakes it.
func TestNoLineIsOverlooked(t *testing.T) {
	t.Parallel()
	store, err := logfile.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	const heartbeat = 10 * time.Second // a line that is overlooked comes this late
	for name, reader := range map[string]func(follower) io.Reader{
		"text":   func(f follower) io.Reader { return &textStream{f} },
		"events": func(f follower) io.Reader { return &eventStream{follower: f} },
	} {
		log := store.Get(name)
		r := reader(follower{log: log, running: t.Context(), heartbeat: heartbeat})
		const lines = 20_000
		var turn atomic.Int64 // the line that may be written
		written := make(chan struct{})
		go func() {
			defer close(written)
			for line := range int64(lines) {
				for turn.Load() <= line {
					runtime.Gosched()
				}
				if err := log.Append(line, []byte("\n")); err != nil {
					t.Error(err)
				}
			}
		}()
		buffer := make([]byte, 256)
		for i := range lines {
			turn.Add(1)
			for range i % 1000 { // so that the two meet at every point of the way
				_ = turn.Load()
			}
			start := time.Now()
			if n, err := r.Read(buffer); err != nil || n == 0 || time.Since(start) >= heartbeat {
				t.Fatalf("%s: %q, %v after %s", name, buffer[:n], err, time.Since(start))
			}
		}
		<-written
	}
}

// A client that comes from another API may be ahead of this one's file by a moment.
func TestFollowerWaitsForItsOffset(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	p.write("12345\n")
	p.shown()
	answered := make(chan reply)
	asking := b.request(http.MethodGet, "/jobs/"+p.ID+"/log?follow=false&offset=9", "")
	go func() {
		resp, err := b.client.Do(asking)
		if err != nil {
			answered <- reply{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- reply{resp.StatusCode, resp.Header, string(body)}
	}()
	b.eventually("the request", func() bool { return b.api.app.Server().GetCurrentConcurrency() == 1 })
	p.write("789abc")
	b.is(<-answered, http.StatusOK, "abc")
}

func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	b, p := withALine(t)
	text, stream := b.streams(p)
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	if err := b.api.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	b.broken(text, stream) // the job goes on
}

// A log that is removed while it is read is no log that ended.
func TestRemovedLogIsNotWhole(t *testing.T) {
	t.Parallel()
	b, p := withALine(t)
	text, stream := b.streams(p)
	if err := b.logs.Remove(p.ID); err != nil {
		t.Fatal(err)
	}
	b.broken(text, stream)
}

// Of a log of which the bus has lost the end everybody gets what there is, and no stream ends in order.
func TestAShortLogIsNotWhole(t *testing.T) {
	t.Parallel()
	b, p := withALine(t)
	text, stream := b.streams(p)
	p.LogBytes += 7
	p.move(jobs.Succeed)
	b.broken(text, stream)
	p.shown()
	b.broken(b.streams(p)) // of who comes later
	path := "/jobs/" + p.ID + "/log"
	b.is(b.get(path, "Accept: application/json"), http.StatusOK, `{"log":"line\n","offset":5,"state":"success"}`)
	b.is(b.get(path+"?follow=false"), http.StatusOK, "line")
	if job := decode[jobs.Job](t, b.get("/jobs/"+p.ID).body); job.LogBytes != 12 || len(job.Warnings) != 1 {
		t.Errorf("%d bytes, warnings %q", job.LogBytes, job.Warnings)
	}
}

// withALine is a running job that has a line in its log.
func withALine(t *testing.T) (*testBundle, *played) {
	t.Helper()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	p.write("line\n")
	p.shown()
	return b, p
}

// streams follows the log of a job, which is "line\n" so far, as text and as events.
func (b *testBundle) streams(p *played) (*bufio.Reader, events) {
	b.t.Helper()
	path := "/jobs/" + p.ID + "/log"
	text := b.open(path, "Accept: */*").body
	stream := newEvents(b.open(path, "Accept: text/event-stream"))
	if line, err := text.ReadString('\n'); err != nil || line != "line\n" {
		b.t.Fatalf("%q, %v", line, err)
	}
	if got := stream.next(b.t); !strings.HasPrefix(got, "event: log") {
		b.t.Fatalf("got %q", got)
	}
	return text, stream
}

// broken checks that streams end, and that no reader can take what it has for the whole log.
func (b *testBundle) broken(text *bufio.Reader, stream events) {
	b.t.Helper()
	if rest, err := io.ReadAll(text); !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0 {
		b.t.Errorf("text: %q, %v", rest, err)
	}
	if got := stream.next(b.t); got != "" {
		b.t.Errorf("event %q", got)
	}
}

// Clients read the state, then the log, and stop at the first terminal state.
func TestTerminalStateImpliesTheWholeLog(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 8 {
		p := b.running()
		const lines = 40
		var want strings.Builder
		for i := range lines {
			fmt.Fprintf(&want, "line %d\n", i)
		}
		path := "/jobs/" + p.ID
		for _, read := range []func() logged{
			func() logged {
				job := decode[jobs.Job](t, b.get(path).body)
				l := decode[logged](t, b.get(path+"/log").body)
				l.State = job.State
				return l
			},
			func() logged { return decode[logged](t, b.get(path+"/log").body) },
		} {
			wg.Go(func() {
				previous := ""
				for b.ctx.Err() == nil {
					l := read()
					if !strings.HasPrefix(l.Log, previous) || int64(len(l.Log)) != l.Offset {
						t.Errorf("%q after %q", l.Log, previous)
						return
					}
					previous = l.Log
					if l.State.Terminal() {
						if l.Log != want.String() {
							t.Errorf("%d of %d bytes when %s", len(l.Log), want.Len(), l.State)
						}
						return
					}
				}
			})
		}
		wg.Go(func() {
			resp, err := b.client.Do(b.request(http.MethodGet, path+"/log", "", "Accept: */*"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != want.String() {
				t.Errorf("follower: %d of %d bytes, %v", len(text), want.Len(), err)
			}
		})
		wg.Go(func() {
			for i := range lines {
				p.write(fmt.Sprintf("line %d\n", i))
			}
			p.move(jobs.Succeed)
		})
	}
}
