package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/artifact"
)

// files is a host that has files of a job.
type files struct {
	mu    sync.Mutex
	files map[string]string
	// version makes the tags: each change is another file.
	version int
	// asked are the questions for pieces.
	asked []artifact.Question
	// before is called before each answer.
	before func(q *artifact.Question)
}

// at is the time of every file.
func at() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC) }

func (b *testBundle) files(host string, content map[string]string) *files {
	b.t.Helper()
	f := &files{files: content}
	b.answer(host, "artifact", func(_ context.Context, question string) (string, error) {
		var q artifact.Question
		if err := json.Unmarshal([]byte(question), &q); err != nil {
			return "", err
		}
		if f.before != nil {
			f.before(&q)
		}
		answer, err := artifact.EncodePiece(f.piece(&q))
		return string(answer), err
	})
	return f
}

func (f *files) piece(q *artifact.Question) (artifact.Head, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, *q)
	text, ok := f.files[q.Path]
	head := artifact.Head{Status: artifact.Found, ETag: fmt.Sprintf("v%d", f.version), Bytes: int64(len(text)), Modified: at()}
	switch {
	case !ok:
		return artifact.Head{Status: artifact.Gone}, nil
	case text == "denied":
		return artifact.Head{Status: artifact.Denied, Text: "permission denied"}, nil
	case q.ETag != "" && q.ETag != head.ETag, text == "changing" && q.Length > 0:
		return artifact.Head{Status: artifact.Changed}, nil
	}
	from := min(q.Offset, head.Bytes)
	return head, []byte(text[from:min(from+int64(q.Length), head.Bytes)])
}

func (f *files) change(path, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[path] = text
	f.version++
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	path := "/jobs/" + p.ID + "/artifacts"
	b.isError(b.get(path), http.StatusServiceUnavailable, "no worker listens as a")
	asked := ""
	b.answer("a", "artifacts", func(_ context.Context, question string) (string, error) {
		asked = question
		return `{"files":[{"path":"clab.yml","bytes":3,"modifiedAt":"2026-01-02T03:04:05Z","type":"text/yaml; charset=utf-8"}],"truncated":true}`, nil
	})
	b.is(b.get(path), http.StatusOK,
		`{"artifacts":[{"path":"clab.yml","bytes":3,"modifiedAt":"2026-01-02T03:04:05Z","type":"text/yaml; charset=utf-8","kept":false}],"truncated":true}`)
	if asked != `{"workdir":"/home/lab/one","user":""}` {
		t.Errorf("asked %s", asked)
	}
	b.online(hostNamed("closed"))
	b.answer("closed", "artifacts", func(context.Context, string) (string, error) { return `{"files":[],"denied":"permission denied"}`, nil })
	closed := b.submit(`{"action":"create","workdir":"/home/lab/closed","host":"closed"}`)
	b.isError(b.get("/jobs/"+closed.ID+"/artifacts"), http.StatusForbidden, "/home/lab/closed", "closed", "permission denied")
	b.isError(b.get("/jobs/none/artifacts"), http.StatusNotFound, "Job none not found")
	b.isError(b.get("/jobs/none/artifact?path=x"), http.StatusNotFound, "Job none not found")
}

func TestArtifact(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	url := "/jobs/" + p.ID + "/artifact"
	b.isError(b.get(url+"?path=x"), http.StatusServiceUnavailable, "no worker listens as a")
	f := b.files("a", map[string]string{"clab.yml": "name: one\n", "empty": "", "a/ü.html": "<script>", "closed": "denied", "busy": "changing"})

	got := b.get(url + "?path=clab.yml")
	b.is(got, http.StatusOK, "name: one")
	for name, want := range map[string]string{
		"Content-Type": "text/yaml; charset=utf-8", "Content-Length": "10", "Etag": `"v0"`, "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT", "Accept-Ranges": "bytes",
		"X-Content-Type-Options": "nosniff", "Content-Disposition": `attachment; filename="clab.yml"`, "Content-Security-Policy": artifactPolicy,
	} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if len(f.asked) != 1 || f.asked[0].Workdir != p.Workdir {
		t.Errorf("asked %+v", f.asked) // a small file is one question
	}
	b.is(b.get(url+"?path=empty"), http.StatusOK, "")
	got = b.get(url + "?path=./a//%C3%BC.html")
	if want := `attachment; filename="_.html"; filename*=UTF-8''%C3%BC.html`; got.body != "<script>" || got.header.Get("Content-Disposition") != want {
		t.Errorf("%+v", got)
	}
	head := b.do(http.MethodHead, url+"?path=clab.yml", "", "Range: bytes=1-2")
	if head.status != http.StatusOK || head.header.Get("Content-Length") != "10" || head.header.Get("Etag") != `"v0"` || head.body != "" {
		t.Errorf("HEAD: %+v", head)
	}
	b.isError(b.get(url+"?path=gone.yml"), http.StatusNotFound, "path", "gone.yml", "host a")
	b.isError(b.get(url+"?path=closed"), http.StatusForbidden, "path", "closed", "permission denied")
	b.isError(b.get(url+"?path=busy"), http.StatusServiceUnavailable, "path", "busy", "being written")
	for path, word := range map[string]string{
		"": "missing", "?path=": "missing", "?path=/etc/passwd": "absolute", "?path=../x": "'..'", "?path=a%2F..%2F..%2Fx": "'..'", "?path=a%00b": "null", "?path=%FF": "UTF-8",
		"?path=.": "itself", "?path=" + strings.Repeat("x", 300): "255",
	} {
		asked := len(f.asked)
		if b.isError(b.get(url+path), http.StatusBadRequest, "path: ", word); len(f.asked) != asked {
			t.Errorf("%q: the host was asked", path)
		}
	}
}

func TestArtifactInPart(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	b.files("a", map[string]string{"x": "0123456789", "empty": ""})
	url := "/jobs/" + p.ID + "/artifact?path="
	const time, before, after = "Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 02 Jan 2026 03:04:04 GMT", "Fri, 02 Jan 2026 03:04:06 GMT"
	for _, test := range []struct {
		headers []string
		status  int
		body    string
	}{
		{[]string{"Range: bytes=0-0"}, 206, "0"},
		{[]string{"Range: bytes=3-5"}, 206, "345"},
		{[]string{"Range: bytes=3-"}, 206, "3456789"},
		{[]string{"Range: bytes=-3"}, 206, "789"},
		{[]string{"Range: bytes=-99999999999999999999"}, 206, "0123456789"},
		{[]string{"Range: bytes=8-99999999999999999999"}, 206, "89"},
		{[]string{"Range: Bytes=8-8"}, 206, "8"},
		// Whole, where it is no range or none of one part.
		{[]string{"Range: bytes=0-1,3-4"}, 200, "0123456789"},
		{[]string{"Range: bytes=5-3"}, 200, "0123456789"},
		{[]string{"Range: bytes=-"}, 200, "0123456789"},
		{[]string{"Range: bytes=a-b"}, 200, "0123456789"},
		{[]string{"Range: bytes=+1-2"}, 200, "0123456789"},
		{[]string{"Range: lines=1-2"}, 200, "0123456789"},
		{[]string{"Range: bytes"}, 200, "0123456789"},
		{[]string{"Range: bytes=10-"}, 416, ""},
		{[]string{"Range: bytes=-0"}, 416, ""},
		{[]string{"Range: bytes=99999999999999999999-"}, 416, ""},
		{[]string{"Range: bytes=1-1", `If-Range: "v0"`}, 206, "1"},
		{[]string{"Range: bytes=1-1", `If-Range: "v1"`}, 200, "0123456789"},
		{[]string{"Range: bytes=1-1", `If-Range: W/"v0"`}, 200, "0123456789"},
		{[]string{"Range: bytes=1-1", "If-Range: " + time}, 206, "1"},
		{[]string{"Range: bytes=1-1", "If-Range: " + after}, 200, "0123456789"},
		{[]string{`If-None-Match: "v0"`}, 304, ""},
		{[]string{`If-None-Match: "x", W/"v0"`}, 304, ""},
		{[]string{`If-None-Match: "x"`, `If-None-Match: "v0"`}, 304, ""},
		{[]string{"If-None-Match: *"}, 304, ""},
		{[]string{`If-None-Match: "v1"`, "If-Modified-Since: " + after}, 200, "0123456789"},
		{[]string{"If-Modified-Since: " + time}, 304, ""},
		{[]string{"If-Modified-Since: " + before}, 200, "0123456789"},
		{[]string{"If-Modified-Since: yesterday"}, 200, "0123456789"},
		{[]string{`If-Match: "v0"`}, 200, "0123456789"},
		{[]string{`If-Match: "v1"`}, 412, ""},
		{[]string{`If-Match: W/"v0"`}, 412, ""},
		{[]string{"If-Unmodified-Since: " + before}, 412, ""},
		{[]string{"If-Unmodified-Since: " + time}, 200, "0123456789"},
	} {
		got := b.get(url+"x", test.headers...)
		if got.status != test.status || test.status < 300 && got.body != test.body {
			t.Errorf("%q: %d %q, want %d %q", test.headers, got.status, got.body, test.status, test.body)
		}
		switch got.status {
		case http.StatusPartialContent:
			from := strings.Index("0123456789", test.body)
			if want := fmt.Sprintf("bytes %d-%d/10", from, from+len(test.body)-1); got.header.Get("Content-Range") != want || got.header.Get("Content-Length") != fmt.Sprint(len(test.body)) {
				t.Errorf("%q: %v", test.headers, got.header)
			}
		case http.StatusRequestedRangeNotSatisfiable:
			if b.isError(got, 416, "range"); got.header.Get("Content-Range") != "bytes */10" || got.header.Get("Etag") != "" {
				t.Errorf("%q: %v", test.headers, got.header)
			}
		case http.StatusPreconditionFailed:
			b.isError(got, 412, "path")
		case http.StatusNotModified:
			if got.header.Get("Etag") != `"v0"` || got.body != "" {
				t.Errorf("%q: %v %q", test.headers, got.header, got.body)
			}
		}
	}
	if got := b.get(url+"empty", "Range: bytes=0-"); got.status != 416 || got.header.Get("Content-Range") != "bytes */0" {
		t.Errorf("of an empty file: %+v", got)
	}
}

// large is content of which no piece is like another.
func large(pieces int) string {
	text := make([]byte, pieces*artifact.PieceSize-7)
	x := uint32(1)
	for i := range text {
		x = x*1664525 + 1013904223
		text[i] = byte(x >> 24)
	}
	return string(text)
}

// A file of many pieces is sent as they come, a few on their way at a time.
func TestALargeArtifact(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	text := large(12)
	f := b.files("a", map[string]string{"x": text})
	url := "/jobs/" + p.ID + "/artifact?path=x"
	if got := b.get(url); got.body != text || got.header.Get("Content-Length") != fmt.Sprint(len(text)) {
		t.Errorf("%d bytes %v", len(got.body), got.header)
	}
	from, to := artifact.PieceSize-5, 3*artifact.PieceSize+5
	if got := b.get(url, fmt.Sprintf("Range: bytes=%d-%d", from, to-1)); got.body != text[from:to] {
		t.Errorf("a part: %d bytes", len(got.body))
	}
	// For a client that takes nothing the host is asked for what the sockets hold, and a few pieces more.
	const pieces = 64
	f.change("x", strings.Repeat("x", pieces*artifact.PieceSize))
	asked := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.asked)
	}
	before := asked()
	b.open(url)
	for last := -1; last != asked(); time.Sleep(500 * time.Millisecond) {
		last = asked()
	}
	if n := asked() - before; n < 2 || n > pieces*3/4 {
		t.Errorf("%d of %d pieces were asked for by a client that takes none", n, pieces)
	}
}

// However many files are sent at once, to however slow clients, what is in memory is bounded: beyond a number each is sent in
// small pieces.
func TestManyArtifactsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	text := large(3)
	f := b.files("a", map[string]string{"x": text})
	url := "/jobs/" + p.ID + "/artifact?path="
	largest := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, q := range f.asked {
			n = max(n, q.Length)
		}
		f.asked = nil
		return n
	}
	for range quickStreams {
		b.api.quick <- struct{}{}
	}
	if got := b.get(url + "x"); got.body != text || got.header.Get("Content-Length") != fmt.Sprint(len(text)) {
		t.Errorf("%d bytes %v", len(got.body), got.header)
	}
	if n := largest(); n != slowPiece {
		t.Errorf("without a place the host is asked for %d bytes at once", n)
	}
	<-b.api.quick
	if got := b.get(url + "x"); got.body != text {
		t.Errorf("%d bytes", len(got.body))
	}
	if n := largest(); n != artifact.PieceSize {
		t.Errorf("with a place the host is asked for %d bytes at once", n)
	}

	// Every way out gives the place back.
	b.isError(b.get(url+"none"), http.StatusNotFound)
	b.isError(b.get(url+"denied/.."), http.StatusBadRequest)
	b.isError(b.get(url+"x", `If-Match: "other"`), http.StatusPreconditionFailed)
	b.is(b.get(url+"x", `If-None-Match: "v0"`), http.StatusNotModified, "")
	b.isError(b.get(url+"x", "Range: bytes=9999999999-"), http.StatusRequestedRangeNotSatisfiable)
	if got := b.do(http.MethodHead, url+"x", ""); got.status != http.StatusOK {
		t.Errorf("HEAD: %d", got.status)
	}
	b.eventually("the place to be free", func() bool { return len(b.api.quick) == quickStreams-1 })
	f.change("x", strings.Repeat("x", 64*artifact.PieceSize))
	b.open(url + "x").close()
	b.eventually("the place of who went away to be free", func() bool { return len(b.api.quick) == quickStreams-1 })
}

// A file of which the end is not read any more is not taken for whole.
func TestAnArtifactThatIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	for range 20 {
		s := newArtifactStream(ctx, &artifactSource{server: b.api, host: "a"}, b.api.newPace(), 0, 4*artifact.PieceSize, []byte("begin"))
		if text, err := io.ReadAll(s); !errors.Is(err, context.Canceled) {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A worker that starts anew breaks no download.
func TestAnArtifactOfAHostThatIsAwayForAMoment(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	text := large(12)
	f := &files{files: map[string]string{"x": text}}
	ctx, away := context.WithCancel(b.ctx)
	finish, err := b.bus.Answer(ctx, "a", "artifact", func(_ context.Context, question []byte) ([]byte, error) {
		var q artifact.Question
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, err
		}
		if q.Offset >= 3*artifact.PieceSize {
			away()
		}
		return artifact.EncodePiece(f.piece(&q))
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		<-ctx.Done()
		finish()
	}()
	got := b.open("/jobs/" + p.ID + "/artifact?path=x")
	// The first piece came with the headers. Of the others, which are asked for at once, any may not be answered any more. What comes
	// is read meanwhile: the end of a piece may leave with the next one.
	type read struct {
		text string
		err  error
	}
	whole := make(chan read, 1)
	go func() {
		body, err := io.ReadAll(got.body)
		whole <- read{string(body), err}
	}()
	<-gone
	b.files("a", f.files)
	if r := <-whole; r.err != nil || r.text != text {
		t.Errorf("%d bytes, %v", len(r.text), r.err)
	}
}

// Never is a part of one file sent behind a part of another.
func TestAnArtifactThatChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	text := large(12)
	other := text[1:] + "x"
	f := b.files("a", map[string]string{"x": text})
	f.before = func(q *artifact.Question) {
		if q.Offset >= 3*artifact.PieceSize {
			f.change("x", other)
		}
	}
	got := b.open("/jobs/" + p.ID + "/artifact?path=x")
	body, err := io.ReadAll(got.body)
	if err == nil || got.status != http.StatusOK || !strings.HasPrefix(text, string(body)) || len(body) > 3*artifact.PieceSize {
		t.Errorf("%d, %d bytes, %v", got.status, len(body), err)
	}
	b.is(b.get("/healthz"), http.StatusOK, `{"status":"ok"}`)
}
