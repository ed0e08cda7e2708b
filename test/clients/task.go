package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// How long a task waits for an answer.
const (
	postLimit     = 15 * time.Second
	healthLimit   = 3 * time.Second
	pollLimit     = 10 * time.Second
	statusLimit   = 20 * time.Second // for the status job as a whole
	artifactLimit = 10 * time.Second
	buttonLimit   = 15 * time.Second

	artifactBytes = 4 << 20
	noRow         = "—"
)

// Task is a client like the task of a lab portal.
type Task struct {
	Server
	// Every is the time between two looks at a job. Defaults to 50 ms, as tests are in a hurry.
	Every time.Duration
	// Slack is by how much a machine that is busy may exceed the limits of a task. Defaults to 1: not at all.
	Slack int
}

// Outcome is what a task has seen of a job.
type Outcome struct {
	ID, State, Error string
	// Log is all that it has printed.
	Log string
	// Looks counts how often it looked at the job, Missed how often that failed: a task passes over that.
	Looks  int
	Missed []error
}

// Failed says whether the task takes the job for failed. One that takes a lab down has done so as well where there was none.
func (o *Outcome) Failed(action string) bool {
	if action == "down" && (strings.Contains(o.Error, "not found") || strings.Contains(o.Log, "not found")) {
		return false
	}
	return o.State != "success"
}

func (t *Task) limit(d time.Duration) time.Duration { return d * time.Duration(max(t.Slack, 1)) }

func (t *Task) pause() time.Duration {
	if t.Every > 0 {
		return t.Every
	}
	return 50 * time.Millisecond
}

// Health asks whether the service is there.
func (t *Task) Health(ctx context.Context) error {
	var health struct{ Status string }
	if err := t.call(ctx, t.limit(healthLimit), http.MethodGet, "/healthz", nil, &health); err != nil {
		return err
	}
	if health.Status != "ok" {
		return fmt.Errorf("GET /healthz: status %q", health.Status)
	}
	return nil
}

// Submit posts a job and returns its id.
func (t *Task) Submit(ctx context.Context, payload map[string]any) (string, error) {
	var job state
	if err := t.call(ctx, t.limit(postLimit), http.MethodPost, "/jobs", payload, &job); err != nil {
		return "", err
	}
	if job.ID == "" || job.is() == "" {
		return "", fmt.Errorf("POST /jobs: no id or no state in %+v", job)
	}
	return job.ID, nil
}

// Run posts a job and follows it to its first terminal state.
func (t *Task) Run(ctx context.Context, payload map[string]any) (*Outcome, error) {
	id, err := t.Submit(ctx, payload)
	if err != nil {
		return nil, err
	}
	return t.Follow(ctx, id)
}

// Follow looks at the job first and then at its log, and stops for good at the first terminal state: what the log has not by
// then is lost. An error is a log that has changed, or the end of ctx.
func (t *Task) Follow(ctx context.Context, id string) (*Outcome, error) {
	o := &Outcome{ID: id}
	var seen tail
	for {
		o.Looks++
		var job state
		if err := t.call(ctx, t.limit(pollLimit), http.MethodGet, "/jobs/"+url.PathEscape(id), nil, &job); err != nil {
			o.Missed = append(o.Missed, err)
		}
		var now logOf
		if err := t.call(ctx, t.limit(pollLimit), http.MethodGet, "/jobs/"+url.PathEscape(id)+"/log", nil, &now); err != nil {
			o.Missed = append(o.Missed, err)
		} else if now.Log == nil {
			return o, errors.New("the answer of the log has no log in it")
		} else {
			added, err := seen.next(*now.Log)
			if err != nil {
				return o, err
			}
			o.Log += added
		}
		if o.State, o.Error = job.is(), job.failure(); terminal(o.State) {
			return o, nil
		}
		if err := wait(ctx, t.pause()); err != nil {
			return o, fmt.Errorf("job %s was last %q after %d looks, of which %d failed: %w", id, o.State, o.Looks, len(o.Missed), err)
		}
	}
}

// Cancel asks for the end of the job, and takes it for canceled from then on, whatever comes.
func (t *Task) Cancel(ctx context.Context, id string) error {
	var job state
	return t.call(ctx, t.limit(postLimit), http.MethodPost, "/jobs/"+url.PathEscape(id)+"/cancel", map[string]any{}, &job)
}

// Node is a row of the status table.
type Node struct{ Name, Device, Provider, Status, Image, Address string }

// Nodes runs a status job, of which it knows no more than the working directory, and reads the nodes from its log, by position.
func (t *Task) Nodes(ctx context.Context, workdir string) ([]Node, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit(statusLimit), errors.New("the status job took too long"))
	defer cancel()
	o, err := t.Run(ctx, map[string]any{"action": "status", "workdir": workdir})
	if err != nil {
		return nil, err
	}
	if o.State != "success" {
		return nil, fmt.Errorf("status: %s %s\n%s", o.State, o.Error, o.Log)
	}
	return nodes(o.Log), nil
}

// nodes reads a table: rows begin with │, the cells between are known by their position, one without an address is no node.
func nodes(log string) []Node {
	const bar, columns = "│", 6
	var list []Node
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, bar) || strings.HasPrefix(line, bar+" node") {
			continue
		}
		cells := strings.Split(strings.Trim(line, bar), bar)
		if len(cells) < columns {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if address := cells[5]; address != "" && address != noRow {
			list = append(list, Node{cells[0], cells[1], cells[2], cells[3], cells[4], address})
		}
	}
	return list
}

// Artifact reads a file that a job left.
func (t *Task) Artifact(ctx context.Context, id, path string) ([]byte, error) {
	route := "/jobs/" + url.PathEscape(id) + "/artifact?path=" + url.QueryEscape(path)
	a, err := t.send(ctx, t.limit(artifactLimit), http.MethodGet, route, nil)
	switch {
	case err != nil:
		return nil, err
	case a.status != http.StatusOK:
		return nil, &Error{Method: http.MethodGet, Path: route, Status: a.status, Body: string(a.body)}
	case len(a.body) > artifactBytes:
		return nil, fmt.Errorf("GET %s: %d bytes, a task takes %d", route, len(a.body), artifactBytes)
	}
	return a.body, nil
}

// Connect runs show commands on a node of a lab and returns what they print.
func (t *Task) Connect(ctx context.Context, payload map[string]any) (string, error) {
	var reply logOf
	if err := t.button(ctx, "/connect", payload, &reply); err != nil {
		return "", err
	}
	if reply.Log == nil {
		return "", errors.New("POST /connect: no log in the answer")
	}
	return *reply.Log, nil
}

// Graph has a lab drawn.
func (t *Task) Graph(ctx context.Context, payload map[string]any) (svgBase64, outputPath string, err error) {
	var reply struct{ SVGBase64, OutputPath string }
	err = t.button(ctx, "/graph", payload, &reply)
	return reply.SVGBase64, reply.OutputPath, err
}

func (t *Task) button(ctx context.Context, path string, payload map[string]any, reply any) error {
	a, err := t.send(ctx, t.limit(buttonLimit), http.MethodPost, path, payload)
	switch {
	case err != nil:
		return err
	case a.status/100 != 2:
		return &Error{Method: http.MethodPost, Path: path, Status: a.status, Body: string(a.body)}
	}
	if err := json.Unmarshal(a.body, reply); err != nil {
		return fmt.Errorf("POST %s: %w in %.300s", path, err, a.body)
	}
	return nil
}
