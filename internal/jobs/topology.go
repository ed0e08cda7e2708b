package jobs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// maxYAMLNodes bounds a topology with its aliases written out, as Netlab holds it: a few lines of aliases to aliases would
// make it fill the memory of the host.
const maxYAMLNodes = 200_000

// topology returns the text of an inline topology.
func (f *fields) topology() string {
	const field = "topology"
	text := f.text(field)
	if text == "" {
		return ""
	}
	if len(text) > MaxTopologyBytes {
		f.fault(field, "has %d bytes: use at most %d, or put it on the host and send topologyPath", len(text), MaxTopologyBytes)
		return ""
	}
	if err := CheckTopology(text); err != nil {
		f.fault(field, "%v", err)
	}
	if f.given("topologyUrl") {
		f.fault(field, "is given together with topologyUrl: send one of them")
	}
	return text
}

// A YAML text is read as a tree that takes up to 250 times the room of the text. So one that must be far above the limit of
// nodes is not read at all, and of large ones one is read at a time.
const (
	maxYAMLMarks = 500_000
	largeYAML    = 256 << 10
)

var readingLarge sync.Mutex //nolint:gochecknoglobals // guards the memory of the process

// yamlMarks counts what one to four nodes of a tree need one of. A comment or a string may have them too, without any node.
func yamlMarks(text string) int {
	marks := 0
	for i := range len(text) {
		switch text[i] {
		case '\n', ',', '[', '{':
			marks++
		case '-', '?':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t') {
				marks++
			}
		}
	}
	return marks
}

// CheckTopology says what keeps the text from being one YAML mapping.
func CheckTopology(text string) error {
	if len(text) > largeYAML {
		if marks := yamlMarks(text); marks > maxYAMLMarks {
			return fmt.Errorf("has %d lines, commas, brackets and dashes: use at most %d", marks, maxYAMLMarks)
		}
		readingLarge.Lock()
		defer readingLarge.Unlock()
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return errors.New("has nothing in it: send the YAML of a topology")
	} else if err != nil {
		return fmt.Errorf("is not YAML: %.200v", err) //nolint:errorlint // cut short: a name in it may be as long as the text
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return errors.New("is not a YAML mapping: send the YAML of a topology")
	}
	if expandedSize(&doc) > maxYAMLNodes {
		return fmt.Errorf("grows to more than %d values with its aliases written out: use fewer", maxYAMLNodes)
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("has more than one YAML document: send one")
	}
	return nil
}

// expandedSize counts the nodes of n with aliases written out, up to some number above maxYAMLNodes. It is above that too for
// an alias inside its own anchor.
func expandedSize(n *yaml.Node) int {
	sizes := make(map[*yaml.Node]int)
	var size func(n *yaml.Node) int
	size = func(n *yaml.Node) int {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if known, ok := sizes[n]; ok {
			return known
		}
		sizes[n] = maxYAMLNodes + 1 // until it is known: whoever asks meanwhile is inside
		total := 1
		for _, c := range n.Content {
			total = min(total+size(c), maxYAMLNodes+1)
		}
		sizes[n] = total
		return total
	}
	return size(n)
}
