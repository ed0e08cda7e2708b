package jobs_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

// Every field of a payload, in every type that clients send it in, with every action: what it means does not depend on the type.
func TestEveryFieldInEveryTypeWithEveryAction(t *testing.T) {
	t.Parallel()
	fields := map[string]struct {
		values []string // JSON, all of one meaning
		want   func(q *jobs.Request)
	}{
		"user":          {[]string{`"lab"`, `" lab "`}, func(q *jobs.Request) { q.User = "lab" }},
		"workspace":     {[]string{`"ws"`, `" ws "`}, func(q *jobs.Request) { q.Workspace = "ws" }},
		"project":       {[]string{`"ws"`, `" ws "`}, func(q *jobs.Request) { q.Workspace = "ws" }},
		"deployment":    {[]string{`"d1"`}, func(q *jobs.Request) { q.Deployment = "d1" }},
		"workspaceRoot": {[]string{`"/srv/labs"`, `"/srv//labs/"`}, func(q *jobs.Request) { q.WorkspaceRoot = "/srv/labs" }},
		"plugin":        {[]string{`"multilab"`, `["multilab"]`, `["multilab",null,""]`}, func(q *jobs.Request) { q.Plugin = []string{"multilab"} }},
		"multilabId":    {[]string{`37`, `"37"`, `" 037 "`}, func(q *jobs.Request) { q.MultilabID = "37" }},
		"instance":      {[]string{`"lab-1"`, `" lab-1 "`}, func(q *jobs.Request) { q.Instance = "lab-1" }},
		"stateRoot":     {[]string{`"/srv/state"`, `"/srv/state/"`}, func(q *jobs.Request) { q.StateRoot = "/srv/state" }},
		"topologyPath":  {[]string{`"netlab/t.yml"`, `"./netlab//t.yml"`, `"/srv/labs/a/netlab/t.yml"`}, func(q *jobs.Request) { q.TopologyPath = "netlab/t.yml" }},
		"topologyUrl":   {[]string{`"https://example.com/t.yml"`, `" https://example.com/t.yml?a=b"`}, func(q *jobs.Request) { q.TopologyURL = "https://example.com/t.yml" }},
		"topology": {[]string{`"a: 1"`}, func(q *jobs.Request) {
			q.Topology = &jobs.Content{Bytes: 4, SHA256: "bf5ede7e3906104b88e00a39c1e66f1d61ecc22cbf8d4eed5a4ae09671a8cf5b"}
		}},
		"collectOutput":  {[]string{`"out"`, `"out/"`, `"/srv/labs/a/out"`}, func(q *jobs.Request) { q.CollectOutput = "out" }},
		"collectTar":     {[]string{`"out.tgz"`, `"/srv/labs/a/out.tgz"`}, func(q *jobs.Request) { q.CollectTar = "out.tgz" }},
		"collectCleanup": {[]string{`true`, `"true"`, `1`, `"1"`, `"True"`}, func(q *jobs.Request) { q.CollectCleanup = true }},
		"cleanup":        {[]string{`true`, `"true"`, `1`, `"1"`, `"TRUE"`}, func(q *jobs.Request) { q.Cleanup = true }},
		"environment": {
			[]string{`{"NETLAB_X":"1","TOKEN":"correct-horse"}`, `{"NETLAB_X":1,"TOKEN":"correct-horse","A":null}`, `["NETLAB_X=1","TOKEN=correct-horse",""]`},
			func(q *jobs.Request) { q.Environment = map[string]string{"NETLAB_X": "1", "TOKEN": jobs.Masked} },
		},
		"timeoutSeconds": {[]string{`60`, `"60"`, `" 60 "`}, func(q *jobs.Request) { q.TimeoutSeconds = 60 }},
		"host":           {[]string{`"h1"`, `" h1 "`}, func(q *jobs.Request) { q.Host = "h1" }},
		"labels":         {[]string{`{"rack":"4"}`, `{"rack":4}`, `["rack=4"]`}, func(q *jobs.Request) { q.Labels = map[string]string{"rack": "4"} }},
	}
	for field, c := range fields {
		for _, action := range jobs.Actions {
			want := jobs.Request{Action: action, Workdir: "/srv/labs/a"}
			c.want(&want)
			for _, value := range c.values {
				for _, spelt := range []string{string(action), strings.ToUpper(string(action))} {
					payload := body(fmt.Sprintf(`"action":%q,%q:%s`, spelt, field, value))
					p := parse(t, payload)
					got := p.Request
					if field == "topology" {
						got.Topology.SHA256 = want.Topology.SHA256 // of TestInlineTopology
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", payload, diff)
					}
					if len(p.Warnings) > 0 {
						t.Errorf("%s: warnings %q", payload, p.Warnings)
					}
				}
			}
			for _, absent := range []string{`""`, `" "`, `null`} {
				p := parse(t, body(fmt.Sprintf(`"action":%q,%q:%s`, action, field, absent)))
				if diff := cmp.Diff(jobs.Request{Action: action, Workdir: "/srv/labs/a"}, p.Request); diff != "" {
					t.Errorf("%s, %s: %s is not absent (-want +got):\n%s", action, field, absent, diff)
				}
			}
		}
	}
	// The table has every field there is.
	known := reflect.TypeFor[jobs.Request]()
	for i := range known.NumField() {
		name, _, _ := strings.Cut(known.Field(i).Tag.Get("json"), ",")
		if _, ok := fields[name]; !ok && name != "action" && name != "workdir" && name != "bundle" {
			t.Errorf("no row for the field %s", name)
		}
	}
}

// Clients send a lab's number as its instance too.
func TestInstanceAsMultilabID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ members, id, instance string }{
		{`"instance":37`, "37", "37"},
		{`"instance":"37"`, "37", "37"},
		{`"instance":"199"`, "199", "199"},
		{`"instance":"37","multilabId":null`, "37", "37"},
		{`"instance":"37","multilabId":""`, "37", "37"},
		{`"instance":"37","multilabId":38`, "38", "37"},
		{`"instance":"37","multilabId":"37"`, "37", "37"},
		{`"instance":"0"`, "", "0"},
		{`"instance":"200"`, "", "200"},
		{`"instance":"lab-1"`, "", "lab-1"},
		{`"instance":"3.5"`, "", "3.5"},
	} {
		for _, action := range jobs.Actions {
			want := c.id
			switch action {
			case jobs.Up, jobs.Create, jobs.Restart, jobs.Validate:
			default:
				if !strings.Contains(c.members, `:38`) && !strings.Contains(c.members, `"multilabId":"37"`) {
					want = ""
				}
			}
			q := parse(t, body(fmt.Sprintf(`"action":%q,%s`, action, c.members))).Request
			if q.MultilabID != want || q.Instance != c.instance {
				t.Errorf("%s %s: multilabId %q, instance %q", action, c.members, q.MultilabID, q.Instance)
			}
		}
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	for _, action := range jobs.Actions {
		p, err := jobs.ParseWithBundle([]byte(body(fmt.Sprintf(`"action":%q`, action))), []byte("archive"))
		switch action {
		case jobs.Up, jobs.Create, jobs.Restart, jobs.Validate:
			if err != nil || string(p.Bundle) != "archive" || p.Request.Bundle.Bytes != 7 {
				t.Errorf("%s: %+v %v", action, p, err)
			}
		default:
			if err == nil || !strings.Contains(err.Error(), "bundle: means nothing for "+string(action)) {
				t.Errorf("%s: %v", action, err)
			}
		}
	}
	for _, other := range []string{`"topology":"a: 1"`, `"topologyUrl":"https://example.com/t.yml"`} {
		if _, err := jobs.ParseWithBundle([]byte(body(other)), []byte("archive")); err == nil || !strings.Contains(err.Error(), "bundle: is given together") {
			t.Errorf("%s: %v", other, err)
		}
	}
	if p, err := jobs.ParseWithBundle([]byte(body(`"topology":"","topologyUrl":null,"topologyPath":"t.yml"`)), []byte("archive")); err != nil || p.Bundle == nil {
		t.Errorf("beside topologyPath: %v", err)
	}
}

func TestBoundedProblems(t *testing.T) {
	t.Parallel()
	var many []jobs.Problem
	for range 150 {
		many = append(many, jobs.Problem{File: strings.Repeat("f", 5000), Text: strings.Repeat("ü", 5000)})
	}
	got := jobs.Bounded(many)
	if len(got) != 100 || len(got[0].Text) > 2010 || strings.ContainsRune(got[0].Text, '\uFFFD') || got[0].File != "" {
		t.Errorf("%d problems, the first %d bytes in %q", len(got), len(got[0].Text), got[0].File)
	}
	few := []jobs.Problem{{File: "topology.yml", Text: "no such module"}}
	if diff := cmp.Diff(few, jobs.Bounded(few)); diff != "" {
		t.Error(diff)
	}
}
