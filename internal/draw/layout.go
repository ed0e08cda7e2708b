package draw

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"html"
	"strings"
)

// few is up to how many nodes a graph is drawn in ranks: of more, the ranks get too wide for a screen.
const few = 20

// middling is up to how many nodes the room is used well, and links are led around other nodes: for more it takes too long.
const middling = 150

// fills are the colours of devices: light, so that black text can be read on each.
var fills = []string{"#cfe2f3", "#d9ead3", "#fff2cc", "#ead1dc", "#d0e0e3", "#fce5cd", "#d9d2e9", "#e6e6c8"} //nolint:gochecknoglobals // a table that is never written

// engine is Graphviz's program that lays the picture out.
func (p *Picture) engine() string {
	if p.many() {
		return "sfdp"
	}
	return "dot"
}

// many says that there is no room for all the texts, nor for layers: of nodes, or of the links of a full mesh.
func (p *Picture) many() bool { return len(p.Nodes) > few || len(p.Edges) > 3*few }

// dot describes the picture for Graphviz: every text is escaped, and there is no attribute but those that are written here.
func (p *Picture) dot() []byte {
	var b bytes.Buffer
	many := p.many()
	b.WriteString("graph {\n")
	b.WriteString(`bgcolor="white" pad="0.2" fontname="Helvetica" outputorder="edgesfirst" charset="UTF-8"` + "\n")
	if many {
		overlap, splines := "prism", "true" // around the boxes of others
		if len(p.Nodes) > middling {
			overlap, splines = "scale", "line"
		}
		fmt.Fprintf(&b, "overlap=\"%s\" sep=\"+10\" esep=\"+3\" splines=\"%s\" K=\"0.7\" start=\"7\"\n", overlap, splines)
	} else {
		b.WriteString(`nodesep="0.5" ranksep="0.8"` + "\n")
	}
	if p.Title != "" {
		fmt.Fprintf(&b, "labelloc=\"t\" fontsize=\"18\" label=<%s>\n", html.EscapeString(p.Title))
	}
	b.WriteString(`node [fontname="Helvetica" fontsize="13" shape="box" style="rounded,filled" color="#5f6b76" margin="0.12,0.07" height="0.3"]` + "\n")
	b.WriteString(`edge [fontname="Helvetica" fontsize="9" labelfontname="Helvetica" labelfontsize="9" color="#7f8c96" penwidth="1.3" labeldistance="1.6"]` + "\n")
	for c, cluster := range p.Clusters {
		fmt.Fprintf(&b, "subgraph cluster_%d {\nstyle=\"rounded,filled\" fillcolor=\"#f4f6f7\" color=\"#b3bcc4\" margin=\"14\" fontsize=\"12\" label=<%s>\n", c, html.EscapeString(cluster.Label))
		for i := range p.Nodes {
			if p.Nodes[i].Cluster == c {
				p.writeNode(&b, i, many)
			}
		}
		b.WriteString("}\n")
	}
	for i := range p.Nodes {
		if p.Nodes[i].Cluster < 0 {
			p.writeNode(&b, i, many)
		}
	}
	for i := range p.Edges {
		p.writeEdge(&b, &p.Edges[i], many)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func (p *Picture) writeNode(b *bytes.Buffer, i int, many bool) {
	n := &p.Nodes[i]
	if n.Segment {
		text := n.Address
		if text == "" {
			text = n.Name
		}
		fmt.Fprintf(b, "n%d [shape=\"ellipse\" style=\"filled\" fillcolor=\"#eceff1\" fontsize=\"10\" margin=\"0.06,0.03\" label=<%s>]\n", i, html.EscapeString(text))
		return
	}
	fill := n.Fill
	if fill == "" {
		fill = fillOf(n.Device)
	}
	lines := []string{"<b>" + html.EscapeString(n.Name) + "</b>"}
	texts := []string{n.Device, n.Address}
	if many {
		texts = texts[:1] // smaller boxes can be read from further away
	}
	for _, more := range texts {
		if more != "" {
			lines = append(lines, `<font point-size="10" color="#37424a">`+html.EscapeString(more)+"</font>")
		}
	}
	fmt.Fprintf(b, "n%d [fillcolor=\"%s\" label=<%s>]\n", i, fill, strings.Join(lines, "<br/>"))
}

func fillOf(device string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(device))
	return fills[h.Sum32()%uint32(len(fills))]
}

func (p *Picture) writeEdge(b *bytes.Buffer, e *Edge, many bool) {
	fmt.Fprintf(b, "n%d -- n%d [", e.From, e.To)
	if e.Color != "" {
		fmt.Fprintf(b, ` color="%s"`, e.Color)
	}
	if e.Width > 0 {
		fmt.Fprintf(b, ` penwidth="%.1f"`, e.Width)
	}
	if e.Dashed {
		b.WriteString(` style="dashed"`)
	}
	if e.Dir != "" {
		fmt.Fprintf(b, ` dir="%s"`, e.Dir)
	}
	// Among many links nobody could tell whose they are.
	if !many {
		for _, end := range []struct{ name, text string }{{"taillabel", e.FromLabel}, {"headlabel", e.ToLabel}} {
			if end.text != "" {
				fmt.Fprintf(b, " %s=<%s>", end.name, html.EscapeString(end.text))
			}
		}
	}
	b.WriteString("]\n")
}
