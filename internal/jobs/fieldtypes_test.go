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
		"multilabId":    {[]string{`37`, `37.0`, `"37"`, `" 037 "`}, func(q *jobs.Request) { q.MultilabID = "37" }},
		"instance":      {[]string{`"lab-1"`, `" lab-1 "`}, func(q *jobs.Request) { q.Instance = "lab-1" }},
		"stateRoot":     {[]string{`"/srv/state"`, `"/srv/state/"`}, func(q *jobs.Request) { q.StateRoot = "/srv/state" }},
		"topologyPath":  {[]string{`"netlab/t.yml"`, `"./netlab//t.yml"`, `"/srv/labs/a/netlab/t.yml"`}, func(q *jobs.Request) { q.TopologyPath = "netlab/t.yml" }},
		"topologyUrl":   {[]string{`"https://example.com/t.yml"`, `" https://example.com/t.yml?a=b"`}, func(q *jobs.Request) { q.TopologyURL = "https://example.com/t.yml" }},
		"topology": {[]string{`"a: 1"`}, func(q *jobs.Request) {
			q.Topology = &jobs.Content{Bytes: 4, SHA256: "bf5ede7e3906104b88e00a39c1e66f1d61ecc22cbf8d4eed5a4ae09671a8cf5b"}
		}},
		"collectOutput":  {[]string{`"out"`, `"out/"`, `"/srv/labs/a/out"`}, func(q *jobs.Request) { q.CollectOutput = "out" }},
		"collectTar":     {[]string{`"out.tgz"`, `"/srv/labs/a/out.tgz"`}, func(q *jobs.Request) { q.CollectTar = "out.tgz" }},
		"collectCleanup": {[]string{`true`, `"true"`, `1`, `1.0`, `"1"`, `"True"`}, func(q *jobs.Request) { q.CollectCleanup = true }},
		"cleanup":        {[]string{`true`, `"true"`, `1`, `"1"`, `"TRUE"`}, func(q *jobs.Request) { q.Cleanup = true }},
		"environment": {
			[]string{`{"NETLAB_X":"1","TOKEN":"correct-horse"}`, `{"NETLAB_X":1,"TOKEN":"correct-horse","A":null}`, `["NETLAB_X=1","TOKEN=correct-horse",""]`},
			func(q *jobs.Request) { q.Environment = map[string]string{"NETLAB_X": "1", "TOKEN": jobs.Masked} },
		},
		"timeoutSeconds": {[]string{`60`, `60.00`, `"60"`, `" 60 "`}, func(q *jobs.Request) { q.TimeoutSeconds = 60 }},
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

// A value of a type that a field does not take is a fault of that field, and of no other.
func TestEveryFieldInEveryOtherType(t *testing.T) {
	t.Parallel()
	types := map[string]string{"a string": `"x"`, "a number": `5`, "a boolean": `true`, "a list": `[{}]`, "an object": `{"a":{}}`}
	takes := map[string]string{
		"multilabId": "a string, a number", "instance": "a string, a number", "timeoutSeconds": "a string, a number",
		"plugin": "a string, a list", "environment": "a list, an object", "labels": "a list, an object",
		"cleanup": "a string, a number, a boolean", "collectCleanup": "a string, a number, a boolean",
	}
	for _, field := range []string{
		"action", "user", "workspace", "project", "deployment", "workspaceRoot", "workdir", "plugin", "multilabId", "instance",
		"stateRoot", "topologyPath", "topologyUrl", "topology", "collectOutput", "collectTar", "collectCleanup", "cleanup",
		"environment", "timeoutSeconds", "host", "labels",
	} {
		for of, value := range types {
			taken := takes[field]
			if taken == "" {
				taken = "a string"
			}
			payload := body(fmt.Sprintf(`%q:%s`, field, value))
			if field == "workdir" {
				payload = `{"workdir":` + value + `}`
			}
			if strings.Contains(taken, of) && of != "a list" && of != "an object" {
				continue // of TestEveryFieldInEveryTypeWithEveryAction
			}
			if got := faults(t, payload); len(got) != 1 || got[0].Field != field || !strings.Contains(got[0].Text, "must be") {
				t.Errorf("%s: %+v, want one fault of %s", payload, got, field)
			}
		}
	}
}

// A large body is refused with a short text, whatever there are thousands of.
func TestThousandsOfEverything(t *testing.T) {
	t.Parallel()
	many := func(format string) string {
		var text strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&text, format, i)
		}
		return strings.TrimPrefix(text.String(), ",")
	}
	for payload, want := range map[string]string{
		body(`"plugin":[` + many(`,"p%d"`) + `]`):                             "plugin: names 20000 plugins: use at most 32",
		body(`"labels":{` + many(`,"l%d":"x"`) + `}`):                         "labels: are 20000: use at most 32",
		body(`"environment":[` + many(`,"E%d=x"`) + `]`):                      "environment: has 20000 variables: use at most 100",
		body(`"user":"a b",` + many(`,"unknown%d":null`)):                     "user: ",
		body(quoted("user") + `:"u"` + strings.Repeat(`,"user":"u"`, 20_000)): "body: has the field \"user\" twice",
	} {
		if _, err := jobs.ParsePayload([]byte(payload)); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 10_000 {
			t.Errorf("%.60s: %.300v, want %s", payload, err, want)
		}
	}
}

// What would fill the memory when it is read as YAML is refused before, and what is large only in its text is not.
func TestLargeTopologies(t *testing.T) {
	t.Parallel()
	fill := func(s string) string { return strings.Repeat(s, (2<<20)/len(s)) }
	for _, text := range []string{"a: {" + fill("?,") + "}", "a: [" + fill("a,") + "]", "a:\n" + fill("- a\n"), fill("a:\n"), "a: " + fill("- ")} {
		if err := jobs.CheckTopology(text); err == nil || !strings.Contains(err.Error(), "use at most 500000") {
			t.Errorf("%.20q…: %v", text, err)
		}
	}
	fill = func(s string) string { return strings.Repeat(s, (512<<10)/len(s)) }
	for _, text := range []string{
		"a: |\n" + fill(" interface Ethernet1/1\n"), "a: 1\n" + fill("# a comment, as people write it\n"), "a: '" + fill("2001:db8::1-") + "'",
		"a: [ " + fill("some text here, ") + "]",
	} {
		if err := jobs.CheckTopology(text); err != nil {
			t.Errorf("%.20q…: %v", text, err)
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
		{`"instance":37.0`, "37", "37"},
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

func TestInstanceThatContradictsTheMultilabID(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]int{`"instance":"37","multilabId":38`: 1, `"instance":"37","multilabId":37`: 0, `"instance":"lab","multilabId":38`: 0} {
		if p := parse(t, body(`"action":"up",`+members)); len(p.Warnings) != want {
			t.Errorf("%s: warnings %q", members, p.Warnings)
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
