package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"netlab-runner/internal/jobs"
)

// mixed has runes of one to four bytes, and what JSON and Server-Sent Events have to escape.
const mixed = "a\"\\\té│€😀\r\n\n\ndata: x\n:\u2028<b>\x1b[1m\x00é"

type logged struct {
	Log    string
	Offset int64
	State  jobs.State
}

func TestLogResumesAtEveryByte(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	for name, p := range map[string]*played{"ended": b.ended(mixed), "running": b.running()} {
		if !p.State.Terminal() {
			p.write(mixed)
			p.shown()
		}
		path := "/jobs/" + p.ID + "/log"
		for offset := range len(mixed) + 1 {
			what := fmt.Sprintf("%s at %d", name, offset)
			query := fmt.Sprintf("?offset=%d", offset)
			forms := []reply{b.get(path + query), b.get(path + query + "&follow=false")}
			if p.State.Terminal() {
				forms = append(forms,
					b.get(path+query, "Accept: text/plain"),
					b.get(path+query, "Accept: text/event-stream"),
					b.get(path+"?offset=1", "Accept: text/event-stream", fmt.Sprintf("Last-Event-Id: %d", offset)))
			}
			if offset < len(mixed) && !utf8.RuneStart(mixed[offset]) {
				for _, got := range forms {
					b.isError(got, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("offset: %d is inside of a character", offset))
				}
				continue
			}
			want := mixed[offset:]
			if got := decode[logged](t, forms[0].body); got != (logged{want, int64(len(mixed)), p.State}) {
				t.Errorf("%s: JSON %+v", what, got)
			}
			if forms[1].body != want {
				t.Errorf("%s: text %q", what, forms[1].body)
			}
			for i, got := range forms[2:] {
				text := got.body
				if i > 0 {
					var end jobs.State
					if text, end = replay(t, got.body, int64(offset)); end != jobs.Success {
						t.Errorf("%s: end %q", what, end)
					}
				}
				if text != want {
					t.Errorf("%s: form %d: %q", what, i, text)
				}
			}
		}
	}
}

// replay reads events to the end of the stream, checks each one's id, and returns the text and the state of "end".
func replay(t *testing.T, stream string, offset int64) (text string, end jobs.State) {
	t.Helper()
	for event := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		if event == ":" {
			continue
		}
		if end != "" {
			t.Errorf("%q after the end", event)
		}
		fields := map[string]string{}
		for line := range strings.SplitSeq(event, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Errorf("line %q of %q", line, event)
			}
			fields[name] = value
		}
		switch fields["event"] {
		case "log":
			part := decode[string](t, fields["data"])
			offset += int64(len(part))
			if fields["id"] != fmt.Sprint(offset) || part == "" {
				t.Errorf("%q, want id %d", event, offset)
			}
			text += part
		case "end":
			end = decode[struct{ State jobs.State }](t, fields["data"]).State
		default:
			t.Errorf("event %q", event)
		}
	}
	return text, end
}

func TestLogRefusesOffsets(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	ended, running := b.ended("12345"), b.running()
	for _, p := range []*played{ended, running} {
		path := "/jobs/" + p.ID + "/log"
		for _, offset := range []string{"6", "99999999999999999999"} {
			for _, got := range []reply{
				b.get(path + "?offset=" + offset),
				b.get(path + "?follow=true&offset=" + offset),
				b.get(path, "Accept: text/event-stream", "Last-Event-Id: "+offset),
				b.get(path+"?offset=3", "Accept: text/event-stream", "Last-Event-Id: "+offset),
			} {
				b.isError(got, http.StatusRequestedRangeNotSatisfiable, "is past the end of the log, which has "+fmt.Sprint(p.LogBytes))
			}
		}
		for _, offset := range []string{"-1", "x", "1.0", "0x1", "1%200", "-99999999999999999999"} {
			b.isError(b.get(path+"?offset="+offset), http.StatusBadRequest, "offset: ", "is not an offset")
			b.isError(b.get(path+"?follow&offset="+offset), http.StatusBadRequest, "offset: ")
		}
		b.isError(b.get(path, "Accept: text/event-stream", "Last-Event-Id: x"), http.StatusBadRequest, "Last-Event-ID: ")
		b.isError(b.get(path+"?follow=perhaps"), http.StatusBadRequest, "follow: ", "use true or false")
	}
	b.is(b.get("/jobs/"+ended.ID+"/log?offset="), http.StatusOK, `{"log":"12345","offset":5,"state":"success"}`)
	// Only events have ids.
	b.is(b.get("/jobs/"+ended.ID+"/log", "Last-Event-Id: 3"), http.StatusOK, `{"log":"12345","offset":5,"state":"success"}`)
}

// A client may have more of a log from another API than this one has yet: whoever follows it waits, and only an offset that the bus
// does not have either is past the end.
func TestALogThatHasNotComeSoFar(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	p.write("one\n")
	p.LogBytes += 4 // a chunk that does not come
	p.write("three\n")
	b.eventually("the log to come", func() bool { return b.logs.Get(p.ID).Size() == 4 })
	path := "/jobs/" + p.ID + "/log?offset="
	b.isError(b.get(path+"13"), http.StatusServiceUnavailable, "has the log up to 4 and is behind")
	held := b.open(path+"13", "Accept: text/event-stream")
	for _, form := range []string{"application/json", "text/plain", "text/event-stream"} {
		b.isError(b.get(path+"15", "Accept: "+form), http.StatusRequestedRangeNotSatisfiable, "past the end of the log, which has 4 bytes")
	}
	if err := b.logs.Get(p.ID).Append(4, []byte("two\nthree\n")); err != nil {
		t.Fatal(err)
	}
	p.move(jobs.Succeed)
	rest, err := io.ReadAll(held.body)
	if text, end := replay(t, string(rest), 13); err != nil || text != "\n" || end != jobs.Success {
		t.Errorf("%q, end %q, %v", text, end, err)
	}
}

func TestLogForms(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	inJSON := setup(t, func(c *Config) { c.LogDefault = formJSON })
	const asJSON, asText, asEvents = "application/json", "text/plain; charset=utf-8", "text/event-stream"
	for _, b := range []*testBundle{b, inJSON} {
		b.online(hostNamed("a"))
		path := "/jobs/" + b.ended("line\n").ID + "/log"
		standard := asText
		if b == inJSON {
			standard = asJSON
		}
		for _, test := range []struct{ query, accept, want string }{
			{"", "none", asJSON},
			{"", "", asJSON},
			{"", "application/json", asJSON},
			{"", "application/json, text/plain, */*", asJSON},
			{"", "text/plain, application/json;q=0.1", asJSON},
			{"", "text/event-stream, APPLICATION/JSON", asJSON},
			{"", "application/*", asJSON},
			{"", "image/png", asJSON},
			{"", "%%%", asJSON},
			{"", "*/*", standard},
			{"", "text/html,application/xhtml+xml,*/*;q=0.8", standard},
			{"", "application/json;q=0, */*", standard},
			{"", "text/plain", asText},
			{"", "text/*", asText},
			{"", "text/plain;q=0.5, text/html", asText},
			{"", "text/event-stream", asEvents},
			{"", "text/event-stream, */*", asEvents},
			{"?follow", "application/json", asText},
			{"?follow=", "none", asText},
			{"?follow=true", "text/event-stream", asText},
			{"?follow=1", "none", asText},
			{"?follow=false", "application/json", asText},
			{"?follow=0", "none", asText},
		} {
			headers := []string{"Accept: " + test.accept}
			if test.accept == "none" {
				headers = nil
			}
			got := b.get(path+test.query, headers...)
			if media := got.header.Get("Content-Type"); media != test.want || got.status != http.StatusOK {
				t.Errorf("%s with Accept %q: %d %s, want %s", test.query, test.accept, got.status, media, test.want)
			}
			want := map[string]string{
				asJSON:   `{"log":"line\n","offset":5,"state":"success"}`,
				asText:   "line",
				asEvents: "event: log\nid: 5\ndata: \"line\\n\"\n\nevent: end\ndata: {\"state\":\"success\"}\n",
			}[test.want]
			b.is(got, http.StatusOK, want)
			if head := b.do(http.MethodHead, path+test.query, "", headers...); head.status != http.StatusOK || head.header.Get("Content-Type") != test.want || head.body != "" {
				t.Errorf("HEAD %s with Accept %q: %d %v", test.query, test.accept, head.status, head.header)
			}
		}
	}
}

func TestLargeLog(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	// Of 7 bytes with three runes: every block boundary falls on each byte of it at some time.
	for _, size := range []int{smallLog - 3, smallLog, smallLog + 4, 3 << 20} {
		text := strings.Repeat("│😀", size/7) + strings.Repeat("x", size%7)
		p := b.ended(text)
		path := "/jobs/" + p.ID + "/log"
		got := b.get(path)
		if l := decode[logged](t, got.body); l != (logged{text, int64(size), jobs.Success}) {
			t.Errorf("JSON of %d bytes: %d bytes, offset %d, state %s", size, len(l.Log), l.Offset, l.State)
		}
		if whole := got.header.Get("Content-Length") != ""; whole != (size <= smallLog) {
			t.Errorf("JSON of %d bytes with Content-Length: %v", size, whole)
		}
		got = b.get(path + "?follow=false")
		if got.body != text || got.header.Get("Content-Length") != fmt.Sprint(size) {
			t.Errorf("text of %d bytes: %d bytes, Content-Length %s", size, len(got.body), got.header.Get("Content-Length"))
		}
		if got = b.get(path, "Accept: */*"); got.body != text {
			t.Errorf("followed text of %d bytes: %d bytes", size, len(got.body))
		}
		events, end := replay(t, b.get(path, "Accept: text/event-stream").body, 0)
		if events != text || end != jobs.Success || !utf8.ValidString(events) {
			t.Errorf("events of %d bytes: %d bytes, end %q", size, len(events), end)
		}
	}
}

// The file may end inside of a rune for a moment, after a full disk say. What was read before must not change later.
func TestLogWithHalfARune(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	p.write("ab\xe2\x94")
	p.shown()
	path := "/jobs/" + p.ID + "/log"
	b.is(b.get(path), http.StatusOK, `{"log":"ab","offset":2,"state":"running"}`)
	b.is(b.get(path+"?offset=2"), http.StatusOK, `{"log":"","offset":2,"state":"running"}`)
	events := newEvents(b.open(path, "Accept: text/event-stream"))
	if got := events.next(t); got != "event: log\nid: 2\ndata: \"ab\"" {
		t.Errorf("got %q", got)
	}
	p.write("\x82c")
	if got := events.next(t); got != "event: log\nid: 6\ndata: \"│c\"" {
		t.Errorf("got %q", got)
	}
	p.write("\xe2")
	p.move(jobs.Fail)
	p.shown()
	// It never gets whole.
	if got := events.next(t); got != `event: log`+"\nid: 7\n"+`data: "\ufffd"` {
		t.Errorf("got %q", got)
	}
	if got := events.next(t); got != "event: end\ndata: {\"state\":\"failed\"}" {
		t.Errorf("got %q", got)
	}
	b.is(b.get(path), http.StatusOK, `{"log":"ab│c","offset":6,"state":"failed"}`)
}

func TestEncodeIsJSON(t *testing.T) {
	t.Parallel()
	for r := range rune(0x2100) {
		text, err := encode(string(r))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal(text, &got); err != nil || got != string(r) || strings.Count(string(text), "\n") != 1 {
			t.Errorf("%U: %q, %v", r, text, err)
		}
	}
}
