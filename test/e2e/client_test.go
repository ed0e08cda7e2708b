package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// object is a JSON object that a test sends.
type object map[string]any

// do sends a request and returns the status and the body. It fails the test where no answer comes.
func (a *api) do(t *testing.T, method, path string, body any, header ...string) (int, []byte) {
	t.Helper()
	response := a.open(t, method, path, body, header...)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, content
}

func (a *api) open(t *testing.T, method, path string, body any, header ...string) *http.Response {
	t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewBufferString(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, content)
	if err != nil {
		t.Fatal(err)
	}
	header = append(slices.Clone(a.header), header...)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := a.client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

// get reads a JSON answer with status 200 into value.
func (a *api) get(t *testing.T, path string, value any) {
	t.Helper()
	status, body := a.do(t, "GET", path, nil)
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal(body, value); err != nil {
		t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// pollPause is between two requests that look for what is awaited. To look more often takes processor time from what is waited for.
const pollPause = 50 * time.Millisecond

// newClient lets go of a connection before the server does, which may be just as the next request is sent.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{IdleConnTimeout: 2 * time.Second}}
}

// submit posts a job that must be accepted. header has names and values.
func (a *api) submit(t *testing.T, payload object, header ...string) jobs.Job {
	t.Helper()
	var status int
	var body []byte
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		status, body = a.do(t, "POST", "/jobs", payload, header...)
		// On a machine that stands still for longer than the short lease of the tests, a host is away for a moment.
		away := status == http.StatusConflict && bytes.Contains(body, []byte("offline")) ||
			status == http.StatusServiceUnavailable && bytes.Contains(body, []byte("no host is online"))
		if !away || time.Now().After(end) {
			break
		}
	}
	if status != http.StatusAccepted {
		t.Fatalf("POST /jobs %v: %d %s", payload, status, body)
	}
	var job jobs.Job
	if err := json.Unmarshal(body, &job); err != nil {
		t.Fatal(err)
	}
	return job
}

// tell says how a job stands, where the test has failed.
func (a *api) tell(t *testing.T, id string) {
	if !t.Failed() {
		return
	}
	response, err := a.client.Get(a.base + "/jobs/" + id)
	if err != nil {
		t.Logf("job %s: %v", id, err)
		return
	}
	defer response.Body.Close()
	t.Logf("job %s: %s", id, readAll(t, response))
}

// finish follows the job's log to its end and returns the job as it ended, and the log.
func (a *api) finish(t *testing.T, id string) (jobs.Job, string) {
	t.Helper()
	t.Cleanup(func() { a.tell(t, id) })
	status, log := a.do(t, "GET", "/jobs/"+id+"/log?follow=true", nil)
	if status != http.StatusOK {
		t.Fatalf("log of %s: %d %s", id, status, log)
	}
	var job jobs.Job
	a.get(t, "/jobs/"+id, &job)
	return job, string(log)
}

// run submits a job and sees it through to the state.
func (a *api) run(t *testing.T, state jobs.State, payload object) (jobs.Job, string) {
	t.Helper()
	job, log := a.finish(t, a.submit(t, payload).ID)
	if job.State != state {
		t.Fatalf("%v: %s, want %s; error %s\n%s", payload, job.State, state, text(job.Error), log)
	}
	return job, log
}

// awaitReady waits until the API serves and sees so many hosts.
func (a *api) awaitReady(hostCount int) {
	a.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		if status, _ := a.do(a.t, "GET", "/readyz", nil); status != http.StatusOK {
			continue
		}
		if a.online(a.t) >= hostCount {
			return
		}
	}
	a.t.Fatal("the API did not become ready")
}

// awaitKnown waits until the API knows the job: a worker makes its jobs known to a bus without them only once it holds its host's name.
func (a *api) awaitKnown(t *testing.T, id string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		if status, _ := a.do(t, "GET", "/jobs/"+id, nil); status == http.StatusOK {
			return
		}
	}
	t.Fatalf("job %s did not become known", id)
}

func (a *api) online(t *testing.T) int {
	t.Helper()
	var list struct {
		Hosts []hosts.Host `json:"hosts"`
	}
	a.get(t, "/hosts", &list)
	n := 0
	for _, h := range list.Hosts {
		if h.Online {
			n++
		}
	}
	return n
}

// ofLab are the words that the job's error has to say of its lab: none where Docker took longer than it is given, as on a slow machine.
func ofLab(job *jobs.Job, words ...string) []string {
	if strings.Contains(text(job.Error), "cannot be told (") {
		return nil
	}
	return words
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
