package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/clients"
	"netlab-runner/test/people"
)

// whole bounds the whole of what one client does with its lab.
const whole = 6 * patience

// Those that people have work unchanged, whatever stands in front of the API: TLS that nobody can verify, a path prefix, a
// token or a user's password.
func TestClientsThatPeopleHave(t *testing.T) {
	t.Parallel()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		f := single(t, append(selfSigned(t), "NETLAB_API_TOKEN=to.ken+1==", "NETLAB_API_USER=anna", "NETLAB_API_PASSWORD=gehe:im ä€",
			"NETLAB_API_PREFIX=/net/lab", "NETLAB_WORKER_SLOTS=4")...)
		t.Run("task", func(t *testing.T) {
			t.Parallel()
			taskLife(t, f, f.any().asBearer(), func(action, dir string) object {
				return object{"action": action, "workdir": dir, "workspaceRoot": "", "topologyPath": "", "topologyUrl": "", "cleanup": action == "down"}
			})
		})
		t.Run("script", func(t *testing.T) {
			t.Parallel()
			scriptLife(t, f, f.any().asBasic(), object{"workdir": nil}, []string{"NETLAB_DEVICE=frr", "WORD=not for others"})
		})
	})
	t.Run("split", func(t *testing.T) {
		t.Parallel()
		f := split(t, "NETLAB_API_USER=anna", "NETLAB_API_PASSWORD=geheim")
		t.Run("task", func(t *testing.T) {
			t.Parallel()
			taskLife(t, f, f.any().asBasic(), func(action, dir string) object {
				return object{"action": action, "workspaceRoot": dir, "topologyPath": "topology.yml", "topologyUrl": nil, "cleanup": "true"}
			})
		})
		t.Run("script", func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(f.root, "people", "second")
			scriptLife(t, f, f.any().asBasic(), object{"workdir": dir}, map[string]any{"WORD": "not for others", "COUNT": 7, "EMPTY": ""})
		})
	})
}

// taskLife takes a lab through every action, and canceled ones.
func taskLife(t *testing.T, f *fleet, server clients.Server, payload func(action, dir string) object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	// Other tests run beside this one.
	c := &clients.Task{Server: server, Slack: 3}
	if err := c.Health(ctx); err != nil {
		t.Error(err)
	}
	dir := f.lab("tasks", "linux2")
	run := func(action string, says ...string) *clients.Outcome {
		t.Helper()
		o, err := c.Run(ctx, payload(action, dir)) // it looks at nothing any more once the job has ended
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		if o.Failed(action) || o.State != "success" || o.Error != "" || len(o.Missed) > 0 {
			t.Errorf("%s: %s %q, looks that failed: %v\n%s", action, o.State, o.Error, o.Missed, o.Log)
		}
		for _, want := range says {
			if !strings.Contains(o.Log, want) {
				t.Errorf("%s: no %q in the log:\n%s", action, want, o.Log)
			}
		}
		if job, log := f.any().finish(t, o.ID); log != o.Log || job.LogBytes != int64(len(log)) {
			t.Errorf("%s: the task has %d bytes of the log, which has %d", action, len(o.Log), len(log))
		}
		return o
	}
	started := func(action, status string, says ...string) {
		t.Helper()
		o := run(action, says...)
		nodes, err := c.Nodes(ctx, dir)
		if err != nil {
			t.Fatalf("status after %s: %v", action, err)
		}
		got := map[string]clients.Node{}
		for _, n := range nodes {
			got[n.Name] = n
			if n.Provider != "clab" || n.Image == "" || !strings.Contains(n.Status, status) || !strings.HasPrefix(n.Address, "192.168.121.") {
				t.Errorf("after %s: node %+v, want the status %s", action, n, status)
			}
		}
		if len(nodes) != 3 || got["h1"].Device != "linux" || got["r1"].Device != "frr" {
			t.Errorf("after %s: nodes %+v", action, nodes)
		}
		for _, file := range []string{"netlab.snapshot.yml", "clab.yml"} {
			content, err := c.Artifact(ctx, o.ID, file)
			if err != nil || !bytes.Contains(content, []byte("r1")) {
				t.Errorf("%s after %s: %v\n%.300s", file, action, err, content)
			}
		}
	}
	// What Netlab's own programs write.
	children := []string{"Created provider configuration file: clab.yml", "INFO Creating container name=r1"}
	run("validate")
	if exists(t, dir, "clab.yml") {
		t.Error("validate made something")
	}
	started("create", "", "clab.yml")
	started("up", "Up ", children...)
	buttons(ctx, t, c, dir)
	run("collect", "PLAY RECAP")
	if !exists(t, dir, "config", "r1.cfg") {
		t.Error("nothing is collected of r1")
	}
	started("restart", "Up ", children...)
	run("down")
	run("destroy")
	if f.server == nil { // once is enough
		taskCancels(ctx, t, f, c)
	}
}

// buttons are what a portal has beside a lab that runs.
func buttons(ctx context.Context, t *testing.T, c *clients.Task, dir string) {
	t.Helper()
	// A host that is busy with other tests may be too slow, which a client is told.
	inTime := func(ask func() error) error {
		for end := time.Now().Add(2 * patience); ; {
			err := ask()
			var refusal *clients.Error
			if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || time.Now().After(end) {
				return err
			}
		}
	}
	var log, drawn, file string
	err := inTime(func() (err error) {
		log, err = c.Connect(ctx, object{"node": "r1", "show": []string{"version"}, "instance": "", "workdir": dir})
		return err
	})
	if err != nil || log == "" {
		t.Errorf("connect: %v, log %q", err, log)
	}
	err = inTime(func() (err error) {
		drawn, file, err = c.Graph(ctx, object{"instance": "", "topologyPath": "topology.yml", "workdir": dir})
		return err
	})
	if svg, decodeErr := base64.StdEncoding.DecodeString(drawn); err != nil || decodeErr != nil || !bytes.Contains(svg, []byte("<svg")) || file == "" {
		t.Errorf("graph: %v, %v, outputPath %q\n%.300s", err, decodeErr, file, svg)
	}
}

// taskCancels has a job canceled while it runs and one while it waits behind that. Nobody asks for either again; both end so.
func taskCancels(ctx context.Context, t *testing.T, f *fleet, c *clients.Task) {
	t.Helper()
	dir := f.chatter("canceled", object{"lines": 1, "gate": "gate"})
	var ids []string
	for range 2 {
		id, err := c.Submit(ctx, object{"action": "create", "workdir": dir})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	f.any().awaitLog(t, ids[0], "chatter 1 of ")
	for _, id := range []string{ids[1], ids[0]} {
		if err := c.Cancel(ctx, id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if o, err := c.Follow(ctx, id); err != nil || o.State != "canceled" || len(o.Missed) > 0 {
			t.Errorf("after the cancel: %+v, %v", o, err)
		}
	}
}

// oneRouter is the smallest lab that something can be collected of.
const oneRouter = "provider: clab\ndefaults.devices.frr.clab.kmods.initial: []\nnodes: { r1: { device: frr } }\n"

// scriptLife takes a lab through every action as the script names the fields. where is its working directory, or an empty one
// beside workspaceRoot, project and deployment, which then say it.
func scriptLife(t *testing.T, f *fleet, server clients.Server, where object, environment any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	var printed strings.Builder
	c := &clients.Script{Server: server, Print: func(added string) { printed.WriteString(added) }}
	dir := filepath.Join(f.root, "people", "second")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "topology.yml"), []byte(oneRouter), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		action string
		says   string
	}{
		{"validate", ""},
		{"create", "clab.yml"},
		{"up", "clab.yml"},
		{"status", "│ r1"},
		{"collect", ""},
		{"restart", "clab.yml"},
		{"down", ""},
		{"down", "not found"},
		{"destroy", ""},
	} {
		payload := object{
			"action": step.action, "user": people.Caller(t), "project": "people", "deployment": "second", "workspaceRoot": f.root,
			"plugin": "multilab", "multilabId": "37", "instance": "37", "stateRoot": "", "topologyPath": "", "topologyUrl": "",
			"collectOutput": "saved", "collectTar": "saved.tar.gz", "collectCleanup": "false", "cleanup": false,
			"environment": environment, "runId": 12, "callback": object{"url": nil},
		}
		maps.Copy(payload, where)
		printed.Reset()
		began := time.Now()
		o, err := c.Run(ctx, payload)
		if err != nil {
			t.Fatalf("%s: %v", step.action, err)
		}
		if o.State != "success" || !strings.Contains(o.Log, step.says) || printed.String() != o.Log {
			t.Errorf("%s: %s %q after %s, want %q in the log:\n%s", step.action, o.State, o.Error, time.Since(began), step.says, o.Log)
		}
		if strings.Contains(o.Log, "not for others") {
			t.Errorf("%s: a secret is in the log:\n%s", step.action, o.Log)
		}
		if want := step.action == "collect"; exists(t, dir, "saved.tar.gz") && !want && step.action != "restart" && step.action != "down" && step.action != "destroy" {
			t.Errorf("%s has collected", step.action)
		} else if want && !exists(t, dir, "saved.tar.gz") {
			t.Error("nothing is collected")
		}
	}
}
