package inventory

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"netlab-runner/internal/account"
)

// FuzzStatusFile reads any bytes as a status file.
func FuzzStatusFile(f *testing.F) {
	for _, seed := range []string{
		"", oneLab, "{}", "null", "1: {dir: /a, status: ~, timestamp: 2026-11-26 01:31:14.770416+00:00, log: [a]}",
		"default: &a {dir: /a}\n2: *a\n", "a: &a [*a]", "[[[", "default:\n  dir: ../x\n  providers: clab\n", "? {a: b}\n: c", "a: !!int x",
		"\xff\xfe", "%YAML 1.1\n---\na: {dir: \"/a\\u202e\"}\n...\n---\nb: c\n", "'\\n': {dir: /a}", "a: {dir: /a, providers: [[x], {y: z}, 7]}",
	} {
		f.Add([]byte(seed))
	}
	self, err := account.Self()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := parse(text)
		entries, _ := value.(map[string]any)
		if err != nil || entries == nil {
			return
		}
		s := source{path: "/home/x/.netlab/status.yaml", who: *self}
		s.look(entries)
		l := &Listing{}
		l.put([]source{s}, sightings{})
		if len(l.Labs)+len(l.Problems) < min(len(entries), mostLabs) {
			t.Errorf("of %d entries there are %d labs and the problems %q", len(entries), len(l.Labs), l.Problems)
		}
		out, err := l.JSON()
		if err != nil || !json.Valid(out) {
			t.Errorf("as JSON: %v", err)
		}
		for _, lab := range l.Labs {
			if lab.Dir != "" && !filepath.IsAbs(lab.Dir) {
				t.Errorf("the directory %q", lab.Dir)
			}
			for _, text := range append(l.Problems, l.Describe(lab.Dir), lab.User, lab.Status, lab.Key) {
				if !plain(text) {
					t.Errorf("a text that cannot be printed: %q", text)
				}
			}
			if got, ok := l.Lab(lab.Key); !ok || got.Dir != lab.Dir {
				t.Errorf("the key %q is not found", lab.Key)
			}
			_ = l.Clash(lab.Identity, []Identity{lab.Identity})
		}
		if !utf8.ValidString(l.Text()) {
			t.Error("the table is no text")
		}
		if _, err := l.FreeID(nil); err != nil {
			t.Error(err)
		}
	})
}

// FuzzTopology reads any bytes as a containerlab topology file.
func FuzzTopology(f *testing.F) {
	for _, seed := range []string{
		"name: a", "{name: a, prefix: ~, mgmt: {network: n}, topology: {nodes: {r1: {kind: linux, mgmt-ipv4: 1.2.3.4}, b: {kind: bridge}}}}",
		"{name: [a]}", "name: a\ntopology: {nodes: {\"\": ~, \"\\n\": 7}}", "{name: 1e99, mgmt: {ipv4-subnet: ::/0}, topology: {nodes: {a: b}}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		topology, err := parseTopology(text)
		if err != nil {
			if !plain(err.Error()) {
				t.Errorf("the error %q", err)
			}
			return
		}
		if err := topology.identity().Check(); err != nil || topology.name == "" {
			t.Errorf("%+v: %v", topology, err)
		}
	})
}

// FuzzDocker reads any bytes as what docker says.
func FuzzDocker(f *testing.F) {
	for _, seed := range []string{
		`{"Names":"clab-x-r1","State":"running","Labels":"containerlab=x,clab-topo-file=/a,b/clab.yml","Networks":"n,m"}`,
		`[{"Names":["a","b"],"Labels":{"containerlab":"x"},"Networks":["n"]}]`, `{"Names":7,"Labels":[],"Networks":{}}`, `[[]]`, `null`, `{`,
		`[{"Name":"n","Id":"0123456789abcdef","IPAM":{"Config":[{"Subnet":"x"},{"Subnet":"10.0.0.0/8"}]},"Containers":{"i":{"Name":"c","IPv4Address":"10.0.0.1/8"}}}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		containers, err := readContainers(text)
		if err == nil {
			l := &Listing{}
			networks, _ := readNetworks(text)
			groups := groupsOf(containers)
			for _, g := range groups {
				g.lab = g.bare()
			}
			l.put(nil, sightings{groups: groups, networks: networks})
			for _, lab := range l.Labs {
				if !plain(l.Describe(lab.Dir)) {
					t.Errorf("it is described as %q", l.Describe(lab.Dir))
				}
				_ = l.Clash(lab.Identity, nil)
			}
		}
	})
}
