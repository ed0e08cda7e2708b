// Package draw makes a picture of a graph that Netlab describes in Graphviz's language. What is in the description was written by
// the lab's users: of it names, labels, colours and who is linked to whom are taken, and nothing else.
//
// Graphviz is a WebAssembly module that is compiled when this package is loaded, and cannot be interrupted: so only the program
// netlab-graph imports it, which is killed where it takes too long. Importing it elsewhere would also make every start of that
// program slower by half a second.
package draw

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-graphviz"
	"github.com/goccy/go-graphviz/cgraph"
)

// Limits of a graph that is drawn.
const (
	maxNodes = 2000
	maxEdges = 10000
	maxLabel = 80 // characters of a line
	maxLines = 4  // of a label
)

// Picture is a graph without anything but what is drawn.
type Picture struct {
	Title    string
	Nodes    []Node
	Edges    []Edge
	Clusters []Cluster
}

// Node is a device, or a segment that several are on.
type Node struct {
	Name string
	// Device is Netlab's name of the device, empty for a segment; Address its loopback's, or the segment's prefix.
	Device, Address string
	// Fill is the colour that the lab's users want, empty for none.
	Fill    string
	Segment bool
	// Cluster is the index of the node's cluster, -1 for none.
	Cluster int
}

// Edge is a link, or a session.
type Edge struct {
	From, To int
	// FromLabel and ToLabel stand at the ends.
	FromLabel, ToLabel string
	Color              string
	Width              float64
	Dashed             bool
	// Dir is "forward", "back", "both", or empty: without an arrow.
	Dir string
}

// Cluster is a set of nodes with a frame.
type Cluster struct{ Label string }

// Read takes the picture out of a description.
func Read(description []byte) (*Picture, error) {
	g, err := graphviz.ParseBytes(description)
	if err == nil && g == nil {
		err = errors.New("there is no graph")
	}
	if err != nil {
		return nil, fmt.Errorf("the graph that Netlab describes cannot be read, maybe because of a quote in a title or a name: %w", err)
	}
	p := &Picture{Title: line(g.GetStr("label"))}
	clusters, err := p.readClusters(g)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	for n, err := g.FirstNode(); n != nil || err != nil; n, err = g.NextNode(n) {
		if err != nil {
			return nil, err
		}
		if len(p.Nodes) == maxNodes {
			return nil, fmt.Errorf("the graph has more than %d nodes", maxNodes)
		}
		name, err := n.Name()
		if err != nil {
			return nil, err
		}
		node := readNode(name, n)
		node.Cluster = -1
		if c, ok := clusters[name]; ok {
			node.Cluster = c
		}
		index[name] = len(p.Nodes)
		p.Nodes = append(p.Nodes, node)
	}
	if len(p.Nodes) == 0 {
		return nil, errors.New("the graph has no nodes")
	}
	return p, p.readEdges(g, index)
}

// readClusters returns the cluster of each node that is in one.
func (p *Picture) readClusters(g *cgraph.Graph) (map[string]int, error) {
	of := map[string]int{}
	for sub, err := g.FirstSubGraph(); sub != nil || err != nil; sub, err = sub.NextSubGraph() {
		if err != nil {
			return nil, err
		}
		name, err := sub.Name()
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, "cluster_") {
			continue
		}
		for n, err := sub.FirstNode(); n != nil || err != nil; n, err = sub.NextNode(n) {
			if err != nil {
				return nil, err
			}
			name, err := n.Name()
			if err != nil {
				return nil, err
			}
			of[name] = len(p.Clusters)
		}
		p.Clusters = append(p.Clusters, Cluster{Label: line(sub.GetStr("label"))})
		if len(p.Clusters) > maxNodes {
			return nil, fmt.Errorf("the graph has more than %d clusters", maxNodes)
		}
	}
	return of, nil
}

var (
	// deviceLabel is how Netlab labels a device: "r1 [frr]\n10.0.0.1/32", the line's end as two characters.
	deviceLabel = regexp.MustCompile(`^(.*) \[([^\]]*)\](?:\\n(.*))?$`)
	color       = regexp.MustCompile(`^(#[0-9A-Fa-f]{6}|[A-Za-z]{1,30}[0-9]{0,3})$`)
)

// netlabFill is the colour of every node that nobody has given another.
const netlabFill = "#ff9f01"

func readNode(name string, n *cgraph.Node) Node {
	node := Node{Name: line(name)}
	label := n.GetStr("label")
	if m := deviceLabel.FindStringSubmatch(label); m != nil {
		node.Device, node.Address = line(m[2]), line(m[3])
	} else {
		node.Segment = true
		if node.Address = line(label); node.Address == node.Name || label == `\N` {
			node.Address = ""
		}
	}
	if fill := n.GetStr("fillcolor"); fill != netlabFill && color.MatchString(fill) && !node.Segment {
		node.Fill = fill
	}
	return node
}

func (p *Picture) readEdges(g *cgraph.Graph, index map[string]int) error {
	for n, err := g.FirstNode(); n != nil || err != nil; n, err = g.NextNode(n) {
		if err != nil {
			return err
		}
		for e, err := g.FirstOut(n); e != nil || err != nil; e, err = g.NextOut(e) {
			if err != nil {
				return err
			}
			if len(p.Edges) == maxEdges {
				return fmt.Errorf("the graph has more than %d links", maxEdges)
			}
			from, err := n.Name()
			if err != nil {
				return err
			}
			head, err := e.Head()
			if err != nil {
				return err
			}
			to, err := head.Name()
			if err != nil {
				return err
			}
			p.Edges = append(p.Edges, readEdge(e, index[from], index[to]))
		}
	}
	return nil
}

func readEdge(e *cgraph.Edge, from, to int) Edge {
	edge := Edge{From: from, To: to, FromLabel: line(e.GetStr("taillabel")), ToLabel: line(e.GetStr("headlabel"))}
	if c := e.GetStr("color"); color.MatchString(c) {
		edge.Color = c
	}
	if width, err := strconv.ParseFloat(e.GetStr("penwidth"), 64); err == nil && width >= 0.5 && width <= 8 {
		edge.Width = width
	}
	edge.Dashed = strings.Contains(e.GetStr("style"), "dashed")
	if dir := e.GetStr("dir"); dir == "forward" || dir == "back" || dir == "both" {
		edge.Dir = dir
	}
	return edge
}

// line makes one line of a text: what cannot be printed is left out, and of a long one the beginning stays.
func line(text string) string {
	text = strings.NewReplacer(`\n`, " ", `\l`, " ", `\r`, " ").Replace(strings.ToValidUTF8(text, ""))
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxLabel {
		text = string(runes[:maxLabel-1]) + "…"
	}
	return text
}
