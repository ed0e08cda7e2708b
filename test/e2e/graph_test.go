package e2e_test

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

func itoa(n int) string { return strconv.Itoa(n) }

// texts returns the words that the picture shows. It must be well-formed, and hold nothing that a page runs, loads or links to.
func texts(t *testing.T, answer asked) string {
	t.Helper()
	svg, err := base64.StdEncoding.DecodeString(answer.SVGBase64)
	if err != nil {
		t.Fatal(err)
	}
	var words strings.Builder
	inside := ""
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return words.String()
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inside = e.Name.Local
			if !slices.Contains([]string{"svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text"}, inside) {
				t.Errorf("an element %s", inside)
			}
			for _, attribute := range e.Attr {
				if name := attribute.Name.Local; strings.HasPrefix(name, "on") || strings.Contains(name, "href") || name == "style" || strings.Contains(attribute.Value, "javascript") {
					t.Errorf("an attribute %s=%q", name, attribute.Value)
				}
			}
		case xml.CharData:
			if inside == "text" {
				words.WriteString(string(e) + "\n")
			}
		case xml.Directive, xml.ProcInst:
			t.Errorf("%v in the picture", e)
		}
	}
}

// hostile is a topology whose user has written into every text and attribute what a page or a host should not see.
const hostile = `
provider: clab
defaults.device: frr
defaults.devices.frr.clab.kmods.initial: []
module: [ bgp ]
bgp.as_list:
  65001: { members: [ r1 ], name: 'x" URL="javascript:alert(1)" y="<script>alert(1)</script>' }
  65002: { members: [ r2 ] }
graph.title: '</text><script>alert(2)</script>" URL="javascript:alert(3)'
nodes:
  r1: { graph.format: { URL: 'javascript:alert(4)', image: /etc/passwd, shapefile: /etc/passwd, 'x="y" onload': 'alert(5)' } }
  r2: { graph.color: 'red" href="javascript:alert(6)' }
links: [ r1-r2 ]
`

// fabric is a topology of 22 nodes, more than are drawn in ranks: spines, leaves and hosts. Transforming many more may take longer than an answer.
func fabric() string {
	var b strings.Builder
	b.WriteString("provider: clab\ndefaults.device: linux\nnodes: [ ")
	for _, kind := range []struct {
		letter string
		count  int
	}{{"s", 2}, {"l", 7}, {"h", 13}} {
		for i := range kind.count {
			fmt.Fprintf(&b, "%s%d, ", kind.letter, i+1)
		}
	}
	b.WriteString("]\nlinks:\n")
	for l := range 7 {
		for s := range 2 {
			fmt.Fprintf(&b, "- s%d-l%d\n", s+1, l+1)
		}
	}
	for h := range 13 {
		fmt.Fprintf(&b, "- h%d-l%d\n", h+1, h%7+1)
	}
	return b.String()
}

func TestGraph(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.lab("drawn", "frr3")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("hostile.yml", hostile)
	write("fabric.yml", fabric())
	const file = "netlab.graph.svg"

	// Without a lab, and so of the topology. The file goes with a destroy.
	if answer := a.ask(t, "/graph", object{"workdir": dir}, http.StatusOK); answer.OutputPath != file || !exists(t, dir, file) || !strings.Contains(texts(t, answer), "r3") {
		t.Errorf("%+v", answer)
	}
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	if exists(t, dir, file) {
		t.Error("the picture outlives a destroy without a lab")
	}
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
	before := f.listing(t, dir)
	for _, body := range []object{
		{"workdir": dir, "instance": "default", "topologyPath": "topology.yml"},
		{"instance": "default", "action": "whatever"},
		{"workdir": dir, "topologyPath": dir + "/topology.yml", "type": "topology"},
	} {
		answer := a.ask(t, "/graph", body, http.StatusOK)
		if words := texts(t, answer); answer.OutputPath != file || !strings.Contains(words, "r1") || !strings.Contains(words, "r2") || !strings.Contains(words, "frr") {
			t.Errorf("%v: %s %s", body, answer.OutputPath, words)
		}
		svg, err := os.ReadFile(filepath.Join(dir, answer.OutputPath))
		if err != nil || base64.StdEncoding.EncodeToString(svg) != answer.SVGBase64 {
			t.Errorf("the file is not the answer (%v)", err)
		}
	}

	words := texts(t, a.ask(t, "/graph", object{"workdir": dir, "topologyPath": "fabric.yml"}, http.StatusOK))
	for _, name := range []string{"s1", "s2", "l7", "h13"} {
		if !strings.Contains(words, name+"\n") {
			t.Errorf("no %s in %s", name, words)
		}
	}
	for _, kind := range []string{"topology", "bgp"} {
		words = texts(t, a.ask(t, "/graph", object{"workdir": dir, "topologyPath": "hostile.yml", "type": kind}, http.StatusOK))
		if !strings.Contains(words, "r1") || !strings.Contains(words, "<script>") {
			t.Errorf("%s: %s", kind, words)
		}
	}

	write("broken.yml", "nodes: [ r1 \n")
	for want, bodies := range map[int][]object{
		http.StatusBadRequest: {
			{"workdir": dir, "topologyPath": "broken.yml"},
			{"workdir": dir, "topologyPath": "missing.yml"},
			{"workdir": dir, "topologyPath": "../x.yml"},
			{"workdir": dir, "topologyPath": "--help"},
			{"workdir": dir, "type": "pie"},
			{"workdir": dir, "type": "isis"},
			{"topologyPath": "topology.yml"},
			{},
		},
		http.StatusNotFound: {
			{"workdir": f.root + "/nowhere"},
			{"instance": "no-such-lab"},
		},
	} {
		for _, body := range bodies {
			a.ask(t, "/graph", body, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "broken.yml")); err != nil {
		t.Fatal(err)
	}
	if after := f.listing(t, dir); after != before {
		t.Errorf("the lab was changed:\n%s\nbefore:\n%s", after, before)
	}
	// A picture is no change of what the lab was made of.
	if _, log := a.run(t, jobs.Success, object{"action": "up", "workdir": dir}); !strings.Contains(log, "unchanged") {
		t.Errorf("an up after a graph did something:\n%s", log)
	}
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	if left, err := filepath.Glob(filepath.Join(dir, "netlab.graph*")); err != nil || len(left) > 0 {
		t.Errorf("%v outlives a destroy (%v)", left, err)
	}
}
