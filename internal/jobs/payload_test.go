package jobs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

func parse(t *testing.T, body string) *jobs.Payload {
	t.Helper()
	p, err := jobs.ParsePayload([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return p
}

// faults parses a body that must not be accepted.
func faults(t *testing.T, body string) []jobs.Fault {
	t.Helper()
	p, err := jobs.ParsePayload([]byte(body))
	var invalid *jobs.Invalid
	if !errors.As(err, &invalid) || p != nil {
		t.Fatalf("%s: accepted: %+v, %v", body, p, err)
	}
	return invalid.Faults
}

// body is a payload with a working directory and the given members.
func body(members string) string { return `{"workdir":"/srv/labs/a",` + members + `}` }

func TestParsePayloadAccepts(t *testing.T) {
	t.Parallel()
	const dir = "/srv/labs/a"
	for _, c := range []struct {
		name, body string
		want       jobs.Request
	}{
		{
			"what a client sends today", `{"action":"create","workdir":"/srv/labs/a","workspaceRoot":"/srv/labs","topologyPath":"t.yml","topologyUrl":"","cleanup":false}`,
			jobs.Request{Action: jobs.Create, Workdir: dir, WorkspaceRoot: "/srv/labs", TopologyPath: "t.yml"},
		},
		{
			"with a byte order mark, as of Windows' files", "\uFEFF" + `{"action":"create","workdir":"/srv/labs/a"}`,
			jobs.Request{Action: jobs.Create, Workdir: dir},
		},
		{
			"all fields", `{"action":"collect","user":"lab","workspace":"ws","deployment":"d1","workspaceRoot":"/srv/labs","workdir":"/srv/labs/a",
			"plugin":["multilab"],"multilabId":"37","instance":"37","stateRoot":"/srv/state","topologyPath":"t.yml","topologyUrl":"https://example.com/t.yml",
			"collectOutput":"out","collectTar":"out.tgz","collectCleanup":true,"cleanup":true,"environment":{"NETLAB_DEVICE":"frr"},
			"timeoutSeconds":60,"host":"h1","labels":{"zone":"a"}}`,
			jobs.Request{
				Action: jobs.Collect, User: "lab", Workspace: "ws", Deployment: "d1", WorkspaceRoot: "/srv/labs", Workdir: dir,
				Plugin: []string{"multilab"}, MultilabID: "37", Instance: "37", StateRoot: "/srv/state", TopologyPath: "t.yml",
				TopologyURL: "https://example.com/t.yml", CollectOutput: "out", CollectTar: "out.tgz", CollectCleanup: true, Cleanup: true,
				Environment: map[string]string{"NETLAB_DEVICE": "frr"}, TimeoutSeconds: 60, Host: "h1", Labels: map[string]string{"zone": "a"},
			},
		},
		{
			"numbers for strings", body(`"multilabId":37,"instance":37,"timeoutSeconds":60`),
			jobs.Request{Action: jobs.Up, Workdir: dir, MultilabID: "37", Instance: "37", TimeoutSeconds: 60},
		},
		{
			"strings for numbers", body(`"multilabId":" 037 ","instance":" lab-1 ","timeoutSeconds":"60"`),
			jobs.Request{Action: jobs.Up, Workdir: dir, MultilabID: "37", Instance: "lab-1", TimeoutSeconds: 60},
		},
		{"true in all its shapes", body(`"cleanup":"true","collectCleanup":"1"`), jobs.Request{Action: jobs.Up, Workdir: dir, Cleanup: true, CollectCleanup: true}},
		{"true in more", body(`"cleanup":"True","collectCleanup":1`), jobs.Request{Action: jobs.Up, Workdir: dir, Cleanup: true, CollectCleanup: true}},
		{"false in all its shapes", body(`"cleanup":"false","collectCleanup":"0"`), jobs.Request{Action: jobs.Up, Workdir: dir}},
		{"false in more", body(`"cleanup":0,"collectCleanup":"FALSE"`), jobs.Request{Action: jobs.Up, Workdir: dir}},
		{"empty is absent", body(`"action":"","user":"","workspace":" ","project":"","deployment":"","workspaceRoot":"","plugin":"","multilabId":"","instance":"",
			"stateRoot":"","topologyPath":"","topologyUrl":"","topology":"","collectOutput":"","collectTar":"","collectCleanup":"","cleanup":"",
			"environment":"","timeoutSeconds":"","host":"","labels":""`), jobs.Request{Action: jobs.Up, Workdir: dir}},
		{"null is absent", body(`"action":null,"user":null,"workspace":null,"project":null,"deployment":null,"workspaceRoot":null,"plugin":null,"multilabId":null,
			"instance":null,"stateRoot":null,"topologyPath":null,"topologyUrl":null,"topology":null,"collectOutput":null,"collectTar":null,
			"collectCleanup":null,"cleanup":null,"environment":null,"timeoutSeconds":null,"host":null,"labels":null`), jobs.Request{Action: jobs.Up, Workdir: dir}},
		{"empty lists and maps", body(`"plugin":[],"environment":{},"labels":[]`), jobs.Request{Action: jobs.Up, Workdir: dir}},
		{"the action in capitals", body(`"action":" Down "`), jobs.Request{Action: jobs.Down, Workdir: dir}},
		{"project for workspace", `{"project":"ws","deployment":"d","user":"lab"}`, jobs.Request{Action: jobs.Up, User: "lab", Workspace: "ws", Deployment: "d"}},
		{"both, the same", `{"project":"ws","workspace":"ws","deployment":"d","user":"lab"}`, jobs.Request{Action: jobs.Up, User: "lab", Workspace: "ws", Deployment: "d"}},
		{"one plugin", body(`"plugin":"my.plugin"`), jobs.Request{Action: jobs.Up, Workdir: dir, Plugin: []string{"my.plugin"}}},
		{"a plugin twice", body(`"plugin":["multilab","files","multilab",null," "]`), jobs.Request{Action: jobs.Up, Workdir: dir, Plugin: []string{"multilab", "files"}}},
		{
			"environment and labels as lists", body(`"environment":["NETLAB_A=b=c","NETLAB_B=","",null],"labels":["zone=a","zone=a"]`),
			jobs.Request{Action: jobs.Up, Workdir: dir, Environment: map[string]string{"NETLAB_A": "b=c", "NETLAB_B": ""}, Labels: map[string]string{"zone": "a"}},
		},
		{
			"numbers and booleans in maps", body(`"environment":{"NETLAB_MULTILAB_ID":9,"NETLAB_X":true,"NETLAB_Y":null},"labels":{"rack":4}`),
			jobs.Request{Action: jobs.Up, Workdir: dir, Environment: map[string]string{"NETLAB_MULTILAB_ID": "9", "NETLAB_X": "true"}, Labels: map[string]string{"rack": "4"}},
		},
		{
			"paths are cleaned", `{"workdir":" /srv//labs/./a/ ","stateRoot":"/srv/state/","topologyPath":"./netlab//t.yml","collectOutput":"out/"}`,
			jobs.Request{Action: jobs.Up, Workdir: dir, StateRoot: "/srv/state", TopologyPath: "netlab/t.yml", CollectOutput: "out"},
		},
		{
			"absolute paths below the working directory", body(`"topologyPath":"/srv/labs/a/netlab/t.yml","collectOutput":"/srv/labs/a/out","collectTar":"/srv/labs/a/o.tgz"`),
			jobs.Request{Action: jobs.Up, Workdir: dir, TopologyPath: "netlab/t.yml", CollectOutput: "out", CollectTar: "o.tgz"},
		},
		{
			"absolute below a derived one", `{"user":"lab","workspace":"w","deployment":"d","topologyPath":"/home/lab/netlab/w/d/t.yml"}`,
			jobs.Request{Action: jobs.Up, User: "lab", Workspace: "w", Deployment: "d", TopologyPath: "t.yml"},
		},
		{
			"names at their limits", body(`"user":"_` + strings.Repeat("x", 63) + `","workspace":"0` + strings.Repeat(".", 127) + `","deployment":"a.+@-_","multilabId":199,"timeoutSeconds":604800`),
			jobs.Request{
				Action: jobs.Up, User: "_" + strings.Repeat("x", 63), Workspace: "0" + strings.Repeat(".", 127), Deployment: "a.+@-_",
				Workdir: dir, MultilabID: "199", TimeoutSeconds: 604800,
			},
		},
		{"not ASCII in a path", body(`"topologyPath":"köln/t.yml"`), jobs.Request{Action: jobs.Up, Workdir: dir, TopologyPath: "köln/t.yml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := parse(t, c.body)
			if diff := cmp.Diff(c.want, p.Request); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(p.Warnings) > 0 || p.Warnings == nil {
				t.Errorf("warnings: %#v", p.Warnings)
			}
		})
	}
	for _, action := range jobs.Actions {
		if got := parse(t, body(fmt.Sprintf(`"action":%q`, action))).Request.Action; got != action {
			t.Errorf("action %s: %s", action, got)
		}
	}
}

func TestParsePayloadRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 20000)
	for _, c := range []struct {
		body  string
		field string
		text  string // a part of it
	}{
		// The body.
		{``, "body", "empty"},
		{" \n", "body", "empty"},
		{`[]`, "body", "must be a JSON object, is a list"},
		{`"text"`, "body", "is a string"},
		{`null`, "body", "is null"},
		{`17`, "body", "is a number"},
		{`true`, "body", "is a boolean"},
		{`{"action":"up"`, "body", "is not JSON"},
		{`{"action":"up"} x`, "body", "is not JSON"},
		{`{"action":"up"}{}`, "body", "is not JSON"},
		{deep, "body", "nested more than 32 levels"},
		{"{\"user\":\"\xff\"}", "body", "UTF-8"},
		{"{\"user\":\"a\"}\x00", "body", "NUL"},
		{body(`"user":"a","user":"a"`), "body", `has the field "user" twice`},
		{body(`"user":"a","\u0075ser":"b"`), "body", `has the field "user" twice`},

		// Types.
		{body(`"action":1`), "action", "must be a string, is a number"},
		{body(`"user":["a"]`), "user", "must be a string, is a list"},
		{body(`"workspace":1`), "workspace", "must be a string"},
		{body(`"project":1`), "project", "must be a string"},
		{body(`"deployment":1`), "deployment", "must be a string"},
		{body(`"workspaceRoot":1`), "workspaceRoot", "must be a string"},
		{`{"workdir":{}}`, "workdir", "must be a string, is an object"},
		{body(`"plugin":7`), "plugin", "must be a string or a list of strings, is a number"},
		{body(`"plugin":["a",7]`), "plugin", "item 2 must be a string, is a number"},
		{body(`"multilabId":true`), "multilabId", "must be a number or a string, is a boolean"},
		{body(`"instance":[]`), "instance", "must be a number or a string"},
		{body(`"stateRoot":1`), "stateRoot", "must be a string"},
		{body(`"topologyPath":1`), "topologyPath", "must be a string"},
		{body(`"topologyUrl":1`), "topologyUrl", "must be a string"},
		{body(`"topology":{"nodes":[]}`), "topology", "must be a string, is an object"},
		{body(`"collectOutput":1`), "collectOutput", "must be a string"},
		{body(`"collectTar":1`), "collectTar", "must be a string"},
		{body(`"collectCleanup":"maybe"`), "collectCleanup", "must be true or false"},
		{body(`"cleanup":2`), "cleanup", "must be true or false"},
		{body(`"cleanup":[]`), "cleanup", "must be true or false"},
		{body(`"environment":7`), "environment", "must be a map or a list of KEY=value, is a number"},
		{body(`"environment":{"A":{}}`), "environment", `the value of "A" must be a string, is an object`},
		{body(`"environment":["A=1",{}]`), "environment", "item 2 must be a string, is an object"},
		{body(`"environment":["A=1","hunter22"]`), "environment", "item 2 has no '='"},
		{body(`"environment":["A=1","A=2"]`), "environment", `"A" is given twice`},
		{body(`"environment":{"A":"1","A":"2"}`), "environment", `"A" is given twice`},
		{body(`"timeoutSeconds":{}`), "timeoutSeconds", "must be a number or a string"},
		{body(`"host":1`), "host", "must be a string"},
		{body(`"labels":true`), "labels", "must be a map or a list of KEY=value, is a boolean"},

		// Names and numbers.
		{body(`"action":"explode"`), "action", "use one of up, create, down, restart, destroy, collect, status"},
		{body(`"user":"-x"`), "user", "not valid"},
		{body(`"user":"../x"`), "user", "not valid"},
		{body(`"user":"a b"`), "user", "not valid"},
		{body(`"user":"a\u0000"`), "user", "not valid"},
		{body(`"user":"` + strings.Repeat("x", 65) + `"`), "user", "not valid"},
		{body(`"workspace":"a/b"`), "workspace", "not valid"},
		{body(`"workspace":"."`), "workspace", "not valid"},
		{body(`"workspace":".."`), "workspace", "not valid"},
		{body(`"workspace":"` + strings.Repeat("x", 129) + `"`), "workspace", "not valid"},
		{body(`"project":"a/b"`), "project", "not valid"},
		{body(`"project":"a","workspace":"b"`), "project", "differs"},
		{body(`"deployment":"ä"`), "deployment", "not valid"},
		{body(`"plugin":"a/b"`), "plugin", "not the name of a plugin"},
		{body(`"plugin":"a..b"`), "plugin", "not the name of a plugin"},
		{body(`"plugin":"--x"`), "plugin", "not the name of a plugin"},
		{body(`"plugin":"` + strings.Repeat("x", 129) + `"`), "plugin", "not the name of a plugin"},
		{body(`"plugin":` + list(33, func(i int) string { return fmt.Sprintf("p%d", i) })), "plugin", "at most 32"},
		{body(`"multilabId":0`), "multilabId", "from 1 to 199"},
		{body(`"multilabId":"200"`), "multilabId", "from 1 to 199"},
		{body(`"multilabId":3.5`), "multilabId", "whole number"},
		{body(`"multilabId":"x"`), "multilabId", "whole number"},
		{body(`"instance":"a b"`), "instance", "not valid"},
		{body(`"instance":"-x"`), "instance", "not valid"},
		{body(`"instance":-1`), "instance", "not valid"},
		{body(`"instance":1.5`), "instance", "whole number"},
		{body(`"instance":1e3`), "instance", "whole number"},
		{body(`"timeoutSeconds":0`), "timeoutSeconds", "from 1 to 604800"},
		{body(`"timeoutSeconds":604801`), "timeoutSeconds", "from 1 to 604800"},
		{body(`"timeoutSeconds":1e99`), "timeoutSeconds", "whole number"},
		{body(`"host":"a.b"`), "host", "not the name of a host"},
		{body(`"host":"*"`), "host", "not the name of a host"},
		{body(`"labels":{"a b":"c"}`), "labels", "not a label"},
		{body(`"labels":{"a":"b c"}`), "labels", "the value of a is not valid"},
		{body(`"labels":` + list(33, func(i int) string { return fmt.Sprintf("l%d=x", i) })), "labels", "at most 32"},

		// Paths.
		{`{}`, "workdir", "is missing"},
		{`{"workspace":"a","deployment":"b"}`, "workdir", "is missing"},
		{`{"workdir":"labs"}`, "workdir", "not absolute"},
		{`{"workdir":"~/labs"}`, "workdir", "not absolute"},
		{`{"workdir":"/srv/../etc"}`, "workdir", "'..'"},
		{`{"workdir":"/srv/labs/.."}`, "workdir", "'..'"},
		{`{"workdir":"/srv/a\u0000b"}`, "workdir", "control character"},
		{`{"workdir":"/srv/a\nb"}`, "workdir", "control character"},
		{`{"workdir":"/srv/a\u0085b"}`, "workdir", "control character"},
		{`{"workdir":"/` + strings.Repeat("x", 256) + `"}`, "workdir", "255 bytes"},
		{`{"workdir":"` + strings.Repeat("/x", 2049) + `"}`, "workdir", "4096 bytes"},
		{body(`"workspaceRoot":"labs"`), "workspaceRoot", "not absolute"},
		{body(`"stateRoot":"../x"`), "stateRoot", "not absolute"},
		{body(`"topologyPath":"../t.yml"`), "topologyPath", "'..'"},
		{body(`"topologyPath":"a/../t.yml"`), "topologyPath", "'..'"},
		{body(`"topologyPath":"/srv/labs/b/t.yml"`), "topologyPath", "not below the working directory"},
		{body(`"topologyPath":"/srv/labs/ab/t.yml"`), "topologyPath", "not below the working directory"},
		{body(`"topologyPath":"/srv/labs/a"`), "topologyPath", "working directory itself"},
		{body(`"topologyPath":"."`), "topologyPath", "working directory itself"},
		{body(`"topologyPath":"-x"`), "topologyPath", "begins with '-'"},
		{body(`"topologyPath":"./-x"`), "topologyPath", "begins with '-'"},
		{body(`"topologyPath":"https://example.com/t.yml"`), "topologyPath", "topologyUrl"},
		{body(`"topologyPath":"package:cli/empty.yml"`), "topologyPath", "not a file in the working directory"},
		{body(`"topologyPath":"~/t.yml"`), "topologyPath", "not a file in the working directory"},
		{body(`"collectOutput":"."`), "collectOutput", "working directory itself"},
		{body(`"collectOutput":"/srv/labs/a/"`), "collectOutput", "working directory itself"},
		{body(`"collectOutput":"/srv/labs"`), "collectOutput", "not below"},
		{body(`"collectOutput":"out x=y"`), "collectOutput", "not valid"},
		{body(`"collectOutput":"{{x}}"`), "collectOutput", "not valid"},
		{body(`"collectTar":"host:out.tgz"`), "collectTar", "not valid"},
		{body(`"collectTar":"../out.tgz"`), "collectTar", "'..'"},
		{body(`"collectTar":"config/out.tgz","collectCleanup":true`), "collectTar", "which collectCleanup removes"},
		{body(`"collectTar":"/srv/labs/a/out/sub/all","collectOutput":"out/","collectCleanup":true`), "collectTar", "lies in"},
		{body(`"collectTar":"out","collectOutput":"out.tar.gz"`), "collectTar", "is the directory"},

		// Topologies.
		{body(`"topology":"- a\n- b\n"`), "topology", "not a YAML mapping"},
		{body(`"topology":"text"`), "topology", "not a YAML mapping"},
		{body(`"topology":"# nothing"`), "topology", "nothing in it"},
		{body(`"topology":"---"`), "topology", "not a YAML mapping"},
		{body(`"topology":"a: [b"`), "topology", "is not YAML"},
		{body(`"topology":"a: *b"`), "topology", "is not YAML"},
		{body(`"topology":"a: *` + strings.Repeat("b", 9999) + `"`), "topology", "is not YAML"},
		{body(`"topology":"a: \u0000"`), "topology", "is not YAML"},
		{body(`"topology":"a: 1\n---\nb: 2\n"`), "topology", "more than one YAML document"},
		{body(`"topology":"a: 1\n---\n*x\n"`), "topology", "more than one YAML document"},
		{body(`"topology":` + quoted(aliasBomb(10))), "topology", "aliases written out"},
		{body(`"topology":"a: &x [ *x ]"`), "topology", "aliases written out"},
		{body(`"topology":"a: ` + strings.Repeat("x", jobs.MaxTopologyBytes) + `"`), "topology", "at most 4194304"},
		{body(`"topology":"nodes: [a]","topologyUrl":"https://example.com/t.yml"`), "topology", "together with topologyUrl"},
	} {
		name := c.body
		if len(name) > 80 {
			name = name[:80]
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := faults(t, c.body)
			if len(got) != 1 || got[0].Field != c.field || !strings.Contains(got[0].Text, c.text) {
				t.Errorf("got %+v\nwant a fault of %q with %q", got, c.field, c.text)
			}
			if len(got[0].Text) > 400 {
				t.Errorf("a text of %d bytes", len(got[0].Text))
			}
		})
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string
	return string(b)
}

func list(n int, item func(int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = quoted(item(i))
	}
	return "[" + strings.Join(items, ",") + "]"
}

// aliasBomb is a small YAML mapping that holds ten to the power of levels values.
func aliasBomb(levels int) string {
	var b strings.Builder
	b.WriteString("l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "l%d: &l%d [%s*l%d]\n", i, i, strings.Repeat(fmt.Sprintf("*l%d,", i-1), 9), i-1)
	}
	return b.String()
}

func TestInlineTopology(t *testing.T) {
	t.Parallel()
	const text = "nodes: [ a, b ] # ü\n"
	p := parse(t, body(`"topology":`+quoted(text)))
	if p.Topology != text {
		t.Errorf("the text: %q", p.Topology)
	}
	want := &jobs.Content{Bytes: 21, SHA256: "8d3a08794a5e5439d59391e0768ae73129edbd36eb4a9680a689c95177bcb54f"}
	if diff := cmp.Diff(want, p.Request.Topology); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for _, accepted := range []string{aliasBomb(3), "{}", "a: 1\n...\n", "---\na: 1\n", "base: &b {x: 1}\nc: {<<: *b}\n"} {
		parse(t, body(`"topology":`+quoted(accepted)))
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	got := faults(t, `{"labels":1,"host":"a b","timeoutSeconds":-1,"environment":{"PATH":"/x","2":"3"},"cleanup":"x","collectCleanup":"x",
		"collectTar":"..","collectOutput":".","topology":"x","topologyUrl":"ftp://x","topologyPath":"..","stateRoot":"x","instance":"?",
		"multilabId":"x","plugin":["?","!"],"workdir":"x","workspaceRoot":"x","deployment":"?","project":"?","workspace":"?","user":"?",
		"action":"?","action":"up"}`)
	var fields []string
	for _, f := range got {
		fields = append(fields, f.Field)
		if f.Text == "" {
			t.Errorf("%s: no text", f.Field)
		}
	}
	want := []string{
		"body", "action", "user", "workspace", "project", "deployment", "workspaceRoot", "workdir", "plugin", "plugin", "multilabId",
		"instance", "stateRoot", "topologyPath", "topologyUrl", "topology", "topology", "collectOutput", "collectTar", "collectCleanup",
		"cleanup", "environment", "environment", "timeoutSeconds", "host", "labels",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text := (&jobs.Invalid{Faults: []jobs.Fault{{Field: "a", Text: "is b"}, {Field: "c", Text: "is d"}}}).Error()
	if text != "a: is b; c: is d" {
		t.Errorf("Error: %s", text)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	got := faults(t, body(`"labels":`+list(5000, func(i int) string { return "?" + strconv.Itoa(i) + "=x" })))
	last := got[len(got)-1]
	if len(got) != 21 || last.Field != "labels" || !strings.Contains(last.Text, "4980 more") {
		t.Errorf("%d faults, at last %+v", len(got), last)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"unknown", body(`"b":1,"a":{"c":2}`), []string{`unknown field "b" is ignored`, `unknown field "a" is ignored`}},
		{"a path beside the topology", body(`"topologyPath":"x.yml","topology":"nodes: [ r1 ]"`), []string{"topologyPath is ignored, since the topology itself comes with the job: send one of the two"}},
		{"a path beside a URL", body(`"topologyPath":"x.yml","topologyUrl":"http://example.com/x.yml"`), []string{"topologyPath is ignored, since the topology itself comes with the job: send one of the two"}},
		{"a path beside what a down ignores as well", body(`"action":"down","topologyPath":"x.yml","topology":"nodes: [ r1 ]"`), []string{}},
		{"a known one in other letters", body(`"topologypath":"x"`), []string{`unknown field "topologypath" is ignored: the field is "topologyPath"`}},
		{
			"a workspace alone", `{"workspaceRoot":"/srv/labs","workspace":"a"}`,
			[]string{"of workspace and deployment only one is given: the working directory is the workspaceRoot itself"},
		},
		{
			"a deployment alone", `{"workspaceRoot":"/srv/labs","deployment":"a"}`,
			[]string{"of workspace and deployment only one is given: the working directory is the workspaceRoot itself"},
		},
		{"a workspace alone, with a workdir", body(`"workspace":"a"`), []string{}},
		{
			"short secrets", body(`"environment":{"B":"12345","A":"1","C":"123456","D":"","NETLAB_X":"1"}`),
			[]string{"not masked in the log, being shorter than 6 bytes: the value of B, A"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, parse(t, c.body).Warnings); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, `"x%d":%d,`, i, i)
	}
	got := parse(t, body(many.String()+`"`+strings.Repeat("y", 9999)+`":1`)).Warnings
	if len(got) != 21 || got[20] != "481 more unknown fields are ignored" {
		t.Errorf("%d warnings, at last %q", len(got), got[len(got)-1])
	}
	if got := parse(t, body(`"`+strings.Repeat("y", 9999)+`":1`)).Warnings; len(got[0]) > 200 {
		t.Errorf("a warning of %d bytes", len(got[0]))
	}
}
