// Package clients has clients that behave as those behave that people have. A test lets them loose on a running service.
//
//	Task    a portal's task: polls the job, then the log, cuts what is new from the log, reads a table by position
//	Script  a runner script: raises on the first answer that is an error
//
// Neither sends an Accept header. Each request has a connection of its own, which is kept alive and never used again: it is
// the server that has to close it.
package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Server is where the service is, and what a client shows of itself there.
type Server struct {
	// URL is the base, with the path prefix if there is one, without a slash at the end.
	URL string
	// Token is sent as a bearer token; without one User and Password as Basic credentials, without these nothing.
	Token, User, Password string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// Error is an answer that a client takes for an error.
type Error struct {
	Method, Path string
	Status       int
	Body         string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %d %.300s", e.Method, e.Path, e.Status, e.Body)
}

// send makes a request over a connection of its own and reads the whole answer, all within the limit. body nil: none is sent.
func (s *Server) send(ctx context.Context, limit time.Duration, method, path string, body any) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("body of %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	switch {
	case s.Token != "":
		request.Header.Set("Authorization", "Bearer "+s.Token)
	case s.User != "":
		request.SetBasicAuth(s.User, s.Password)
	}
	// Never closed, as theirs: the connection stays until the server ends it.
	own := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := own.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading: %w", method, path, err)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: data}, nil
}

// call is send for an answer that must be 2xx and JSON, which is read into value. Any other status is an *Error.
func (s *Server) call(ctx context.Context, limit time.Duration, method, path string, body, value any) error {
	a, err := s.send(ctx, limit, method, path, body)
	if err != nil {
		return err
	}
	if a.status/100 != 2 {
		return &Error{Method: method, Path: path, Status: a.status, Body: string(a.body)}
	}
	if err := json.Unmarshal(a.body, value); err != nil {
		return fmt.Errorf("%s %s: %w in %.300s", method, path, err, a.body)
	}
	return nil
}

// state is what clients read of a job.
type state struct {
	ID     string  `json:"id"`
	State  string  `json:"state"`
	Status string  `json:"status"`
	Error  *string `json:"error"`
}

// is returns the job's state, which older servers call its status.
func (s *state) is() string {
	if s.State != "" {
		return s.State
	}
	return s.Status
}

func (s *state) failure() string {
	if s.Error == nil {
		return ""
	}
	return *s.Error
}

func terminal(state string) bool {
	return state == "success" || state == "failed" || state == "canceled"
}

// tail is a log as a client reads it that cuts what it has from what it gets.
type tail struct{ log string }

// next takes the log as it is now and returns what is new. An error says that what was there before has changed, which ends
// clients with a panic.
func (t *tail) next(log string) (string, error) {
	switch {
	case len(log) < len(t.log):
		return "", fmt.Errorf("the log has shrunk from %d to %d bytes", len(t.log), len(log))
	case log[:len(t.log)] != t.log:
		return "", fmt.Errorf("the first %d bytes of the log have changed", len(t.log))
	}
	added := log[len(t.log):]
	t.log = log
	return added, nil
}

// logOf is the answer of GET /jobs/{id}/log without an Accept header.
type logOf struct {
	Log *string `json:"log"`
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
