package topology

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is read as what is wanted")

// The snapshots are Netlab's own of the topologies beside them, without the defaults, which are the same in each and long.
func TestReadOfRealSnapshots(t *testing.T) {
	t.Parallel()
	for _, lab := range []string{"mixed", "external"} {
		dir := filepath.Join("testdata", lab)
		content, err := os.ReadFile(filepath.Join(dir, "netlab.snapshot.yml"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(content)
		if err != nil {
			t.Fatalf("%s: %v", lab, err)
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(got); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join(dir, "topology.json")
		if *update {
			if err := os.WriteFile(golden, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text.String()); diff != "" {
			t.Errorf("%s: %s", lab, diff)
		}
	}
}

// Values of other types than Netlab's are none, and end no reader.
func TestReadOfOddValues(t *testing.T) {
	t.Parallel()
	got, err := Read([]byte(`
name: 7
provider: [ clab ]
nodes:
  one: { id: many, device: null, box: { a: b }, mgmt: { ipv4: true, mac: 01:02 }, loopback: { ipv4: false, ipv6: 2001:db8::1/64 }, interfaces: [ null, { ipv4: true, neighbors: [ {} ], vlan: 5, linkindex: 1.5 } ] }
  2: null
  three: { id: 1, provider: libvirt, interfaces: null }
links: [ { prefix: false }, { name: x, linkindex: 0x10, prefix: { ipv4: true }, vlan: { access: red }, interfaces: [ { node: one, ifname: eth1, ipv4: 10.0.0.1/24 } ] }, null ]
unknown: { a: 1 }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Topology{
		Name: "7",
		Nodes: []Node{
			{Name: "2", Interfaces: []Interface{}},
			{
				Name: "one", Mgmt: Mgmt{IPv4: "unnumbered", MAC: "01:02"}, Loopback: &Endpoint{IPv6: "2001:db8::1/64"},
				Interfaces: []Interface{{Endpoint: Endpoint{IPv4: "unnumbered"}, Neighbors: []Neighbor{{}}}},
			},
			{Name: "three", ID: 1, Provider: "libvirt", Interfaces: []Interface{}},
		},
		Links: []Link{
			{Nodes: []Neighbor{}},
			{Index: 16, Name: "x", VLAN: "red", Prefix: Prefix{IPv4: "unnumbered"}, Nodes: []Neighbor{{Node: "one", Interface: "eth1", IPv4: "10.0.0.1/24"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hostile are texts that are no snapshot, by a word of what is said of each.
func hostile() map[string]struct{ text, word string } {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 { node: x }\n")
	for i := 1; i < 30; i++ {
		before := "*a" + string(rune('0'+(i-1)%10)) + strings.Repeat("_", (i-1)/10)
		bomb.WriteString("a" + string(rune('0'+i%10)) + strings.Repeat("_", i/10) + ": &a" + string(rune('0'+i%10)) + strings.Repeat("_", i/10) + " [ " + before + ", " + before + ", " + before + " ]\n")
	}
	interfaces := "i: &i [" + strings.Repeat("{ifname: x},", 20_000) + "]\nn: &n { interfaces: *i }\nnodes: {" +
		many(1000, func(i int) string { return fmt.Sprintf("n%d: *n, ", i) })
	return map[string]struct{ text, word string }{
		"empty":           {"", "no nodes"},
		"other":           {"a: b", "no nodes"},
		"scalar":          {"secret-of-a-file", "not what Netlab writes"},
		"binary":          {"\x80\x04\x95pickle", "not YAML"},
		"torn":            {"nodes:\n  a: [ {", "not YAML"},
		"list":            {"nodes: [ a, b ]", "not what Netlab writes: line 1"},
		"interfaces":      {"nodes:\n  a:\n    interfaces: secret-of-a-file", "not what Netlab writes: line 3"},
		"links":           {"nodes: {}\nlinks: { a: b }", "not what Netlab writes: line 2"},
		"too large":       {strings.Repeat("#", MaxBytes+1), "bytes"},
		"of nothing":      {"nodes: { a: { interfaces: [" + strings.Repeat(",", maxParts+1), "parts"},
		"deep":            {"nodes: " + strings.Repeat("[", 100_000), "not YAML"},
		"deep mapping":    {"nodes: " + strings.Repeat("{a: ", 100_000), "not YAML"},
		"deep blocks":     {"nodes: \n" + strings.Repeat("- ", 100_000), "not YAML"},
		"alias bomb":      {bomb.String() + "nodes: {}\n", "parts"},
		"long alias":      {"t: &t " + strings.Repeat("x", 1<<20) + "\nnodes: { n: { interfaces: [" + strings.Repeat("{ifname: *t},", 20) + "] } }", "bytes of text"},
		"alias of many":   {interfaces + "}", "parts"},
		"many keys":       {"nodes:\n" + many(20_000, func(i int) string { return fmt.Sprintf("  n%d: {}\n", i) }), "keys"},
		"one key":         {many(1000, func(int) string { return "a: 1\n" }), "same key"},
		"in itself":       {"nodes: &a { b: { interfaces: [ *a ] } }", "contains itself"},
		"merge in itself": {"nodes: &a { <<: *a }", "contains itself"},
		"undefined alias": {"nodes: *nothing", "not YAML"},
		"wrong type":      {"nodes: !!binary secret-of-a-file", "not"},
		"python":          {"nodes: !!python/object/apply:os.system [ id ]", "not what Netlab writes"},
	}
}

func many(n int, make func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(make(i))
	}
	return b.String()
}

func TestReadOfWhatIsNoSnapshot(t *testing.T) {
	t.Parallel()
	for name, bad := range hostile() {
		got, err := Read([]byte(bad.text))
		if err == nil || !strings.Contains(err.Error(), bad.word) {
			t.Errorf("%s: %v, want %q; %+v", name, err, bad.word, got != nil)
		}
		// Whose file it is may not be who asks.
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: shown: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, bad := range hostile() {
		if len(bad.text) < 10_000 {
			f.Add([]byte(bad.text))
		}
	}
	for _, lab := range []string{"mixed", "external"} {
		content, err := os.ReadFile(filepath.Join("testdata", lab, "netlab.snapshot.yml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := Read(content)
		if err != nil {
			return
		}
		text, err := json.Marshal(got)
		if err != nil || got.Nodes == nil || got.Links == nil || len(text) > 1000*(len(content)+100) {
			t.Errorf("%d bytes of JSON, %v", len(text), err)
		}
	})
}
