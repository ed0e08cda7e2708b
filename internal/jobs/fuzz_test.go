package jobs_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// bodyOf makes a payload again out of a parsed one, with other secrets if other says so.
func bodyOf(t *testing.T, p *jobs.Payload, other func(string) string) []byte {
	t.Helper()
	b, err := json.Marshal(p.Request)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "topology")
	if p.Topology != "" {
		members["topology"] = p.Topology
	}
	if p.TopologyURL != "" {
		members["topologyUrl"] = p.TopologyURL // what is shown of it is another text
	}
	environment := make(map[string]string)
	for name, value := range p.Request.Environment {
		if secret, ok := p.Secrets[name]; ok {
			value = other(secret)
		}
		environment[name] = value
	}
	members["environment"] = environment
	b, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParsePayload(f *testing.F) {
	f.Add([]byte(`{"action":"up","user":"lab","workspace":"w","deployment":"d","topologyPath":"t.yml","multilabId":7}`))
	f.Add([]byte(`{"workdir":"/srv/a","environment":["TOKEN=hunter22","NETLAB_A={a: &x 1, b: *x}"],"labels":{"a":"b"},"plugin":"x.y","timeoutSeconds":"60"}`))
	f.Add([]byte(`{"workdir":"/srv/a","topology":"a: &a [x]\nb: *a\n","cleanup":"1","instance":5,"host":"h1","foo":null}`))
	f.Add([]byte(`{"workspaceRoot":"/srv","stateRoot":"/srv/./s","topologyUrl":"Http://0x7f.1/?key=x","collectOutput":"/srv/out","collectTar":"a.tgz"}`))
	f.Add([]byte(`[{"action":"\ud800"}]`))
	f.Add([]byte(`{"user":"lab","unheard":[[[[{"a":[{}]}]]]],"labels":["a=b","a=c"],"timeoutSeconds":1e9,"multilabId":007}`))
	f.Add([]byte(`{"workdir":"/srv/a","workdir":"/srv/b","environment":{"A":1,"B":null,"NETLAB_C":true,"LD_PRELOAD":"x","D":["e"]}}`))
	f.Add([]byte(strings.Repeat("[", 40) + strings.Repeat("]", 40)))
	f.Add([]byte("{\"workdir\":\"/srv/\u00e4\u202e\",\"plugin\":[\"a\",\"a\",null],\"topologyPath\":\"./a//b/../c\",\"action\":\" UP \"}\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := jobs.ParsePayload(body)
		if err != nil {
			var invalid *jobs.Invalid
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 || p != nil {
				t.Fatalf("%+v, %v", p, err)
			}
			for _, fault := range invalid.Faults {
				if fault.Field == "" || len(fault.Text) > 2000 || !utf8.ValidString(fault.Text) || strings.ContainsAny(fault.Text, "\x00\x1b") {
					t.Fatalf("the fault %q of %q", fault.Text, fault.Field)
				}
			}
			return
		}
		again, err := jobs.ParsePayload(bodyOf(t, p, func(secret string) string { return secret }))
		if err != nil {
			t.Fatalf("what was accepted is not: %v", err)
		}
		again.Warnings = p.Warnings // of unknown fields, which are gone
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("what was accepted reads otherwise (-first +again):\n%s", diff)
		}

		// Nothing shown depends on a secret.
		other, err := jobs.ParsePayload(bodyOf(t, p, func(string) string { return "another-secret" }))
		if err == nil {
			if diff := cmp.Diff(p.Request, other.Request); diff != "" {
				t.Fatalf("a secret shows (-first +other):\n%s", diff)
			}
		}

		if dir, err := p.Place(hosts.Host{Name: "h1", Roots: []string{"/home", "/srv"}}); err == nil &&
			(!strings.HasPrefix(dir, "/home/") && !strings.HasPrefix(dir, "/srv/") || strings.Contains(dir, "..")) {
			t.Fatalf("placed in %q", dir)
		}
	})
}

func FuzzTopology(f *testing.F) {
	f.Add("nodes: [ a, b ]\nlinks: [ a-b ]\n")
	f.Add("a: &a {x: *a}\n<<: *a\n? [b]\n: !!int c\n--- |\n x\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := json.Marshal(map[string]string{"workdir": "/srv/a", "topology": text})
		if err != nil {
			t.Fatal(err)
		}
		p, err := jobs.ParsePayload(b)
		if err == nil && p.Request.Topology != nil && p.Request.Topology.Bytes != len(p.Topology) {
			t.Fatalf("%d bytes shown as %d", len(p.Topology), p.Request.Topology.Bytes)
		}
	})
}
