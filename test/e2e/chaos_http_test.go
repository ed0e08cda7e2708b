package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// answerTime is how long an answer may take that is no stream, not counted the time for which its API is frozen.
	answerTime = 30 * time.Second
	// silence is how long a stream of events may be silent: a comment comes every 10 s.
	silence = 40 * time.Second
)

// asker sends a client's requests, and looks whether each answer is one that is promised.
type asker struct {
	c    *chaos
	name string
	http *http.Client
}

func newAsker(c *chaos, name string) *asker {
	a := &asker{c: c, name: name, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Second}}}
	c.t.Cleanup(a.http.CloseIdleConnections)
	return a
}

// chaosReply is an answer, whole.
type chaosReply struct {
	status int
	header http.Header
	body   []byte
}

// error is the text of an answer that is an error.
func (r *chaosReply) error() string {
	var said struct{ Error string }
	_ = json.Unmarshal(r.body, &said)
	return said.Error
}

// again is how long the answer asks to wait.
func (r *chaosReply) again() time.Duration {
	seconds := 0
	_, _ = fmt.Sscan(r.header.Get("Retry-After"), &seconds)
	return time.Duration(seconds) * time.Second
}

// ask sends a request and reads the answer. An error means that none came: the API was down, or went down meanwhile.
func (k *asker) ask(ctx context.Context, a *chaosAPI, method, path string, body any, header ...string) (*chaosReply, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	response, err := k.open(ctx, a, method, path, body, header...)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	r := &chaosReply{response.StatusCode, response.Header, content}
	if took := time.Since(began) - a.frozenDuring(began, time.Now()); took > answerTime {
		k.c.find(inTime, "", "%s %s %s at %s took %s: %d", k.name, method, path, a.name, took, r.status)
	}
	k.judge(r, a, method, path)
	return r, nil
}

// judge looks at the form of an answer.
func (k *asker) judge(r *chaosReply, a *chaosAPI, method, path string) {
	bad := func(format string, args ...any) {
		k.c.find(answers, "", "%s: %s %s at %s: %d %.300s: %s", k.name, method, path, a.name, r.status, r.body, fmt.Sprintf(format, args...))
	}
	if r.status >= 500 && r.status != http.StatusServiceUnavailable {
		bad("a 5xx that is not promised")
	}
	if r.status == http.StatusServiceUnavailable && r.again() == 0 {
		bad("no Retry-After")
	}
	if r.status >= 400 && r.error() == "" && path != "/readyz" {
		bad("no error in JSON")
	}
}

// open sends a request and returns the answer with its body unread. An API that is up has to answer.
func (k *asker) open(ctx context.Context, a *chaosAPI, method, path string, body any, header ...string) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	base := a.base.Load()
	request, err := http.NewRequestWithContext(ctx, method, base.url+path, content)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	began := time.Now()
	response, err := k.http.Do(request)
	if err == nil {
		return response, nil
	}
	start, ending := a.present()
	up := start == base.start && !ending && a.alive()
	if overdue := time.Since(began)-a.frozenDuring(began, time.Now()) > answerTime; up && (ctx.Err() == nil || overdue) {
		k.c.find(answers, "", "%s: %s %s at %s, which is up: %v", k.name, method, path, a.name, err)
	}
	return nil, err
}
