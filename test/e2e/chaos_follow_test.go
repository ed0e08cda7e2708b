package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"netlab-runner/internal/jobs"
)

// follow is a log as one client has pieced it together, over connections that broke off, at one API and another.
type follow struct {
	form string // "text", "events", "json"
	text []byte
	// whole says that the client was told that this is the whole log.
	whole       bool
	connections int
}

// followLog follows a job's log to its end.
func (k *asker) followLog(ctx context.Context, r *rand.Rand, id, form string) *follow {
	f := &follow{form: form}
	for ctx.Err() == nil && !f.whole {
		f.connections++
		a := k.c.apis[r.IntN(len(k.c.apis))]
		// How many pieces are read before the client breaks off by itself.
		pieces := 1 + r.IntN(40)
		var err error
		switch form {
		case "text":
			err = k.followText(ctx, a, id, f, pieces)
		case "events":
			err = k.followEvents(ctx, a, id, f, pieces)
		default:
			err = k.followJSON(ctx, a, id, f)
		}
		if err != nil {
			k.c.tell(id, "%s: the log as %s at %s, %d bytes: %v", k.name, form, a.name, len(f.text), err)
		}
		if !f.whole {
			sleep(ctx, time.Duration(100+r.IntN(400))*time.Millisecond)
		}
	}
	return f
}

// watched is a body whose reading is broken off when nothing comes for a while.
type watched struct {
	io.Reader
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.timer.Reset(silence)
	return n, err
}

// stream opens a stream. broken is what ended it where the answer was another one.
func (k *asker) stream(ctx context.Context, a *chaosAPI, path string, header ...string) (body io.Reader, shut func(), broken *chaosReply, err error) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(silence+answerTime, cancel)
	response, err := k.open(ctx, a, "GET", path, nil, header...)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	shut = func() {
		timer.Stop()
		cancel()
		_ = response.Body.Close()
	}
	if response.StatusCode == http.StatusOK {
		return &watched{response.Body, timer}, shut, nil, nil
	}
	content, err := io.ReadAll(response.Body)
	shut()
	if err != nil {
		return nil, nil, nil, err
	}
	broken = &chaosReply{response.StatusCode, response.Header, content}
	k.judge(broken, a, "GET", path)
	return nil, nil, broken, nil
}

// refused takes in an answer that is no log.
func (f *follow) refused(k *asker, a *chaosAPI, id string, r *chaosReply) error {
	switch r.status {
	case http.StatusServiceUnavailable:
	default:
		k.c.find(answers, id, "%s: the log as %s at %s: %d %s", k.name, f.form, a.name, r.status, r.body)
	}
	return fmt.Errorf("%d %s", r.status, r.error())
}

func (k *asker) followText(ctx context.Context, a *chaosAPI, id string, f *follow, pieces int) error {
	body, shut, other, err := k.stream(ctx, a, fmt.Sprintf("/jobs/%s/log?follow=true&offset=%d", id, len(f.text)))
	if err != nil {
		return err
	}
	if other != nil {
		return f.refused(k, a, id, other)
	}
	defer shut()
	block := make([]byte, 8<<10)
	for range pieces {
		n, err := body.Read(block)
		f.text = append(f.text, block[:n]...)
		if errors.Is(err, io.EOF) {
			f.whole = true
			return nil
		}
		if err != nil {
			f.cutRune()
			return err
		}
	}
	f.cutRune()
	return nil
}

// cutRune lets go of a rune that has not wholly come: no offset leads into it.
func (f *follow) cutRune() {
	for i := 1; i < utf8.UTFMax && i <= len(f.text); i++ {
		if last := f.text[len(f.text)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				f.text = f.text[:len(f.text)-i]
			}
			return
		}
	}
}

func (k *asker) followEvents(ctx context.Context, a *chaosAPI, id string, f *follow, pieces int) error {
	opened := time.Now()
	body, shut, other, err := k.stream(ctx, a, "/jobs/"+id+"/log", "Accept", "text/event-stream", "Last-Event-ID", strconv.Itoa(len(f.text)))
	if err != nil {
		return err
	}
	if other != nil {
		return f.refused(k, a, id, other)
	}
	defer shut()
	s := newSSE(body)
	for range pieces {
		e, err := s.next()
		if err != nil {
			k.judgeSilence(ctx, a, id, opened, s)
			return err
		}
		switch e.name {
		case "log":
			var text string
			if err := json.Unmarshal([]byte(e.data), &text); err != nil {
				return err
			}
			f.text = append(f.text, text...)
			if e.id != strconv.Itoa(len(f.text)) {
				k.c.find(logEqual, id, "%s: an event of the log at %s has the id %s, the client has %d bytes with it", k.name, a.name, e.id, len(f.text))
			}
		case "end":
			f.whole = true
			if !strings.Contains(e.data, `"state"`) {
				k.c.find(answers, id, "%s: the end of the log says %s", k.name, e.data)
			}
			return nil
		}
	}
	return nil
}

// judgeSilence says by a finding that a stream of events was silent for too long.
func (k *asker) judgeSilence(ctx context.Context, a *chaosAPI, id string, opened time.Time, s *sse) {
	last := s.last
	if last.IsZero() {
		last = opened
	}
	if quiet := time.Since(last) - a.frozenDuring(last, time.Now()); ctx.Err() == nil && quiet >= silence-time.Second {
		k.c.find(inTime, id, "%s: a stream of events at %s was silent for %s", k.name, a.name, quiet)
	}
}

func (k *asker) followJSON(ctx context.Context, a *chaosAPI, id string, f *follow) error {
	r, err := k.ask(ctx, a, "GET", fmt.Sprintf("/jobs/%s/log?offset=%d", id, len(f.text)), nil, "Accept", "application/json")
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		return f.refused(k, a, id, r)
	}
	var log jsonLog
	if err := json.Unmarshal(r.body, &log); err != nil {
		k.c.find(answers, id, "%s: the log as JSON at %s: %v in %.200s", k.name, a.name, err, r.body)
		return err
	}
	f.text = append(f.text, log.Log...)
	if log.Offset != int64(len(f.text)) {
		k.c.find(logEqual, id, "%s: the log as JSON at %s has the offset %d, the client has %d bytes with it", k.name, a.name, log.Offset, len(f.text))
	}
	f.whole = log.State.Terminal()
	return nil
}

// sse reads Server-Sent Events.
type sse struct {
	lines *bufio.Scanner
	last  time.Time // when anything came
}

// sseEvent is one event.
type sseEvent struct{ name, id, data string }

func newSSE(body io.Reader) *sse {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 2<<20)
	return &sse{lines: lines}
}

// next is the next event, or an id alone. io.EOF: the stream has ended.
func (s *sse) next() (e sseEvent, err error) {
	for s.lines.Scan() {
		s.last = time.Now()
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if e.name != "" || e.id != "" {
				return e, nil
			}
		}
	}
	if err := s.lines.Err(); err != nil {
		return e, err
	}
	return e, io.EOF
}

// told is what a follower of all jobs was told of one.
type told struct {
	id    uint64
	state jobs.State
}

// eventID is that of an event, and the sequence in it.
type eventID struct {
	text string
	seq  uint64
}

// followJobs follows the events of all jobs until ctx ends, at one API and another, and returns what it was told of each.
func (k *asker) followJobs(ctx context.Context, r *rand.Rand) map[string][]told {
	heard := map[string][]told{}
	var last eventID
	for ctx.Err() == nil {
		a := k.c.apis[r.IntN(len(k.c.apis))]
		if err := k.followSome(ctx, a, heard, &last, 1+r.IntN(60)); err != nil {
			k.c.tell("", "%s: the events at %s, up to %s: %v", k.name, a.name, last.text, err)
		}
		sleep(ctx, time.Duration(50+r.IntN(300))*time.Millisecond)
	}
	return heard
}

func (k *asker) followSome(ctx context.Context, a *chaosAPI, heard map[string][]told, last *eventID, most int) error {
	opened := time.Now()
	header := []string{"Accept", "text/event-stream"}
	if last.text != "" {
		header = append(header, "Last-Event-ID", last.text)
	}
	body, shut, other, err := k.stream(ctx, a, "/events", header...)
	if err != nil {
		return err
	}
	if other != nil {
		return fmt.Errorf("%d %s", other.status, other.error())
	}
	defer shut()
	s := newSSE(body)
	for range most {
		e, err := s.next()
		if err != nil {
			k.judgeSilence(ctx, a, "", opened, s)
			return err
		}
		text, _, _ := strings.Cut(e.id, "-")
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil || seq <= last.seq {
			continue // an API that cannot tell what the client knows begins anew
		}
		*last = eventID{e.id, seq}
		if e.name != "job" {
			continue // nothing happened up to there
		}
		var job jobs.Job
		if err := json.Unmarshal([]byte(e.data), &job); err != nil {
			return err
		}
		heard[job.ID] = append(heard[job.ID], told{seq, job.State})
	}
	return nil
}
