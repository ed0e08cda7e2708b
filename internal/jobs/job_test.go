package jobs_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

func indented(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJobAsJSON(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	started, finished := created.Add(time.Second), created.Add(2*time.Second)
	text, code := "netlab up: exit code 1", 1
	for _, c := range []struct {
		name string
		job  jobs.Job
		want string
	}{
		{
			"queued, as little as there can be",
			jobs.Job{
				ID: "job-1", Action: jobs.Up, State: jobs.Queued, CreatedAt: created, Warnings: []string{},
				Request: jobs.Request{Action: jobs.Up},
			},
			`{
  "id": "job-1",
  "action": "up",
  "state": "queued",
  "user": "",
  "workspace": "",
  "deployment": "",
  "workdir": "",
  "host": "",
  "placement": "",
  "instance": "",
  "createdAt": "2026-01-02T03:04:05Z",
  "startedAt": null,
  "finishedAt": null,
  "error": null,
  "exitCode": null,
  "logPath": "",
  "logBytes": 0,
  "cancelRequested": false,
  "warnings": [],
  "request": {
    "action": "up"
  }
}`,
		},
		{
			"failed, with all there is",
			jobs.Job{
				ID: "job-1", Action: jobs.Collect, State: jobs.Failed, Phase: "collect",
				Waiting: &jobs.Waiting{For: "job", Job: "job-0", Position: 1},
				User:    "lab", Workspace: "ws", Deployment: "d1", Workdir: "/srv/labs/ws/d1", Host: "h1", Placement: "asked for",
				Instance: "37", CreatedAt: created, StartedAt: &started, FinishedAt: &finished,
				Error: &text, Reason: jobs.ReasonNetlabFailed, ExitCode: &code, LogPath: "/var/log/job-1.log", LogBytes: 9,
				CancelRequested: true, Warnings: []string{"unknown field"},
				Request: jobs.Request{
					Action: jobs.Collect, User: "lab", Workspace: "ws", Deployment: "d1", WorkspaceRoot: "/srv/labs",
					Workdir: "/srv/labs/ws/d1", Plugin: []string{"multilab"}, MultilabID: "37", Instance: "37",
					StateRoot: "/srv/state", TopologyPath: "t.yml", TopologyURL: "https://example.com/t.yml",
					Topology: &jobs.Content{Bytes: 3, SHA256: "abc"}, CollectOutput: "out", CollectTar: "out.tgz",
					CollectCleanup: true, Cleanup: true, Environment: map[string]string{"TOKEN": jobs.Masked}, TimeoutSeconds: 60,
					Host: "h1", Labels: map[string]string{"zone": "a"},
				},
			},
			`{
  "id": "job-1",
  "action": "collect",
  "state": "failed",
  "phase": "collect",
  "waiting": {
    "for": "job",
    "job": "job-0",
    "position": 1
  },
  "user": "lab",
  "workspace": "ws",
  "deployment": "d1",
  "workdir": "/srv/labs/ws/d1",
  "host": "h1",
  "placement": "asked for",
  "instance": "37",
  "createdAt": "2026-01-02T03:04:05Z",
  "startedAt": "2026-01-02T03:04:06Z",
  "finishedAt": "2026-01-02T03:04:07Z",
  "error": "netlab up: exit code 1",
  "reason": "netlab_failed",
  "exitCode": 1,
  "logPath": "/var/log/job-1.log",
  "logBytes": 9,
  "cancelRequested": true,
  "warnings": [
    "unknown field"
  ],
  "request": {
    "action": "collect",
    "user": "lab",
    "workspace": "ws",
    "deployment": "d1",
    "workspaceRoot": "/srv/labs",
    "workdir": "/srv/labs/ws/d1",
    "plugin": [
      "multilab"
    ],
    "multilabId": "37",
    "instance": "37",
    "stateRoot": "/srv/state",
    "topologyPath": "t.yml",
    "topologyUrl": "https://example.com/t.yml",
    "topology": {
      "bytes": 3,
      "sha256": "abc"
    },
    "collectOutput": "out",
    "collectTar": "out.tgz",
    "collectCleanup": true,
    "cleanup": true,
    "environment": {
      "TOKEN": "***"
    },
    "timeoutSeconds": 60,
    "host": "h1",
    "labels": {
      "zone": "a"
    }
  }
}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := c.job
			if diff := cmp.Diff(c.want, indented(t, c.job)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, indented(t, &c.job)); diff != "" {
				t.Errorf("by pointer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, c.job); diff != "" {
				t.Errorf("marshaling changed the job:\n%s", diff)
			}
			var back jobs.Job
			if err := json.Unmarshal([]byte(c.want), &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, indented(t, back)); diff != "" {
				t.Errorf("there and back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "job-1_B": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a.b": false, "a/b": false, "*": false, ">": false, "a b": false, "ä": false, "a\n": false,
	} {
		if jobs.ValidID(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}
