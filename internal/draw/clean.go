package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What is left of Graphviz's SVG, which is shown in web pages: shapes and text, nothing that runs, links or loads.
var (
	elements   = []string{"svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text"} //nolint:gochecknoglobals // a table that is never written
	attributes = []string{                                                                       //nolint:gochecknoglobals // a table that is never written
		"width", "height", "viewBox", "class", "transform", "fill", "stroke", "stroke-width", "stroke-dasharray", "points", "d",
		"cx", "cy", "rx", "ry", "x", "y", "text-anchor", "font-family", "font-size", "font-weight",
	}
	// harmless is what a number, a colour, a path or a font looks like.
	harmless = regexp.MustCompile(`^[A-Za-z0-9#., ()+-]*$`)
	numbered = regexp.MustCompile(`^n([0-9]+)(?:--n([0-9]+))?$`)
)

// clean copies the SVG with these elements and attributes only. Titles, which a browser shows at the pointer, get the nodes' names.
func (p *Picture) clean(svg []byte) ([]byte, error) {
	var b bytes.Buffer
	d := xml.NewDecoder(bytes.NewReader(svg))
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the picture of Graphviz cannot be read: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if !slices.Contains(elements, t.Name.Local) {
				if err := d.Skip(); err != nil {
					return nil, fmt.Errorf("the picture of Graphviz cannot be read: %w", err)
				}
				continue
			}
			open = append(open, t.Name.Local)
			b.WriteString("<" + t.Name.Local)
			if t.Name.Local == "svg" {
				b.WriteString(` xmlns="http://www.w3.org/2000/svg"`)
			}
			for _, a := range t.Attr {
				if a.Name.Space == "" && slices.Contains(attributes, a.Name.Local) && harmless.MatchString(a.Value) && !strings.Contains(a.Value, "url(") {
					b.WriteString(" " + a.Name.Local + `="` + a.Value + `"`)
				}
			}
			b.WriteString(">")
		case xml.EndElement:
			open = open[:len(open)-1]
			b.WriteString("</" + t.Name.Local + ">")
			if t.Name.Local != "title" && t.Name.Local != "text" {
				b.WriteString("\n")
			}
		case xml.CharData:
			if len(open) == 0 {
				continue
			}
			text := string(t)
			switch open[len(open)-1] {
			case "title":
				text = p.titled(text)
			case "text":
			default:
				continue
			}
			if err := xml.EscapeText(&b, []byte(text)); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), nil
}

// titled is a node's or a link's title.
func (p *Picture) titled(title string) string {
	m := numbered.FindStringSubmatch(title)
	if m == nil {
		return ""
	}
	names := make([]string, 0, 2)
	for _, number := range m[1:] {
		if i, err := strconv.Atoi(number); err == nil && i < len(p.Nodes) {
			names = append(names, p.Nodes[i].Name)
		}
	}
	return strings.Join(names, " – ")
}
