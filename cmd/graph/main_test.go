package main_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program is where TestMain has built it: the package of Graphviz must not be loaded here, as in no other program.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "netlab-graph-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "netlab-graph")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// draw returns the picture, or why there is none.
func draw(t *testing.T, description string) (svg, fault string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin = strings.NewReader(description)
	cmd.Env = []string{"TMPDIR=/proc/self/nowhere"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 || out.Len() > 0 {
			t.Fatalf("%v: %s %s", err, &out, &errs)
		}
		return "", strings.TrimSpace(errs.String())
	}
	return out.String(), ""
}

// TestLimits waits for the limits of a program that waits for its description.
func TestLimits(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = []string{"TMPDIR=/proc/self/nowhere"}
	description, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := map[int]uint64{unix.RLIMIT_CPU: 20, unix.RLIMIT_AS: 6 << 30, unix.RLIMIT_CORE: 0}
	for resource, most := range want {
		var own unix.Rlimit
		if err := unix.Getrlimit(resource, &own); err != nil {
			t.Fatal(err)
		}
		want[resource] = min(most, own.Max)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := map[int]uint64{}
		for resource := range want {
			var set unix.Rlimit
			if err := unix.Prlimit(cmd.Process.Pid, resource, nil, &set); err != nil {
				t.Fatal(err)
			}
			got[resource] = set.Max
		}
		if maps.Equal(got, want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the limits are %v, not %v", got, want)
		}
	}
	_, err = io.WriteString(description, "graph { r1 }")
	if err := errors.Join(err, description.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// picture is what an SVG shows.
type picture struct {
	texts, titles []string
	shapes        map[string]int
}

// parse reads a picture, in which only these elements and attributes may be.
func parse(t *testing.T, svg string) picture {
	t.Helper()
	p := picture{shapes: map[string]int{}}
	inside := ""
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inside = e.Name.Local
			p.shapes[inside]++
			if !slices.Contains([]string{"svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text"}, inside) {
				t.Errorf("an element %s", inside)
			}
			for _, a := range e.Attr {
				name := a.Name.Local
				if a.Name.Space != "" || strings.HasPrefix(name, "on") || slices.Contains([]string{"href", "style", "id", "src"}, name) || strings.Contains(a.Value, ":") && name != "xmlns" {
					t.Errorf("an attribute %s:%s=%q", a.Name.Space, name, a.Value)
				}
			}
		case xml.EndElement:
			inside = ""
		case xml.CharData:
			switch inside {
			case "text":
				p.texts = append(p.texts, string(e))
			case "title":
				p.titles = append(p.titles, string(e))
			}
		case xml.Comment, xml.Directive, xml.ProcInst:
			t.Errorf("%T in the picture", e)
		}
	}
}

func has(t *testing.T, what string, list []string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !slices.Contains(list, w) {
			t.Errorf("no %s %q in %q", what, w, list)
		}
	}
}

func TestDrawing(t *testing.T) {
	t.Parallel()
	svg, fault := draw(t, `graph {
  label="A lab"
  node [fillcolor="#ff9f01"]
  subgraph "cluster_AS_1" { label="AS 1"
    "r1" [ label="r1 [frr]\n10.0.0.1/32" ] }
  "r2" [ label="r2 [eos]\n" fillcolor="#123456" ]
  lan_1 [ label="172.16.0.0/24" ]
  "r1" -- "r2" [ taillabel="10.1.0.1" headlabel="10.1.0.2" color="#b21a1a" penwidth="2" style="dashed" dir="forward" ]
  "r1" -- "lan_1"
}`)
	if fault != "" {
		t.Fatal(fault)
	}
	p := parse(t, svg)
	has(t, "text", p.texts, "A lab", "AS 1", "r1", "frr", "10.0.0.1/32", "r2", "eos", "172.16.0.0/24", "10.1.0.1", "10.1.0.2")
	has(t, "title", p.titles, "r1", "r2", "lan_1", "r1 – r2", "r1 – lan_1")
	for _, part := range []string{`fill="#123456"`, `stroke="#b21a1a"`, `stroke-dasharray`, `stroke-width="2`} {
		if !strings.Contains(svg, part) {
			t.Errorf("no %s in %s", part, svg)
		}
	}
}

// Nothing of what users write gets further than a text, and no file is read.
func TestHostileDescriptions(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.svg")
	if err := os.WriteFile(secret, []byte(`<svg xmlns="http://www.w3.org/2000/svg"><text>secret</text></svg>`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, description := range map[string]string{
		"links":  `graph { URL="javascript:alert(1)"; a [href="javascript:alert(1)" label="a [x]\n" tooltip="<script>"]; a -- b [URL="http://x" edgetooltip=x labelURL="javascript:x"] }`,
		"images": `graph { imagepath="/"; a [image="` + secret + `" shape=custom shapefile="` + secret + `" label="a [x]\n"]; b }`,
		"fonts":  `graph { fontpath="/etc"; stylesheet="http://x/y.css"; _background="c 7 -#ff0000 P 4 0 0 100 0"; a [fontname="x\" onload=\"alert(1)" fillcolor="red\" onload=\"alert(1)" label="a [x]\n"]; b }`,
		"html":   `graph { a [label=<<table href="javascript:alert(1)"><tr><td><img src="` + secret + `"/></td></tr></table>>]; b }`,
		"names":  `graph { "</title><script>alert(1)</script>" [label="</text><script>alert(1)</script> [</text><a>]\n"]; b; subgraph "cluster_<script>" { label="<script>"; c } }`,
		"huge":   `graph { size="1e9,1e9"; dpi=1000000000; a [width=1000000000 height=1000000000 fontsize=1000000000 label="a [x]\n" peripheries=100000 shape=polygon sides=100000000]; a -- b [minlen=1000000 weight=1000000000 penwidth=1000000000] }`,
		"strict": `strict digraph { a -> b -> a [label="\G\E\T\H\L"]; b }`,
		"layout": `graph { layout=patchwork; engine=x; charset=latin1; rankdir=LR; ratio=1000000000; a; b [pos="1e300,1e300!" pin=true] }`,
		"bytes":  "graph { a [label=\"a [\x01\xff\u202e&amp;&#0;]\\n\"]; b }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svg, fault := draw(t, description)
			if fault != "" {
				t.Fatal(fault)
			}
			p := parse(t, svg)
			if !slices.Contains(p.texts, "b") || strings.Contains(svg, "secret") || strings.Contains(svg, "<script") || p.shapes["image"] > 0 || len(svg) > 20000 {
				t.Errorf("%d bytes: %s", len(svg), svg)
			}
		})
	}
}

func TestDescriptionsThatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString("graph { ")
	for i := range 3000 {
		fmt.Fprintf(&many, "n%d; ", i)
	}
	for name, c := range map[string]struct{ description, says string }{
		"none":    {"", "cannot be read"},
		"broken":  {"graph { a -- ", "cannot be read"},
		"empty":   {"graph { }", "no nodes"},
		"garbage": {strings.Repeat("\x00\xff", 1000), "cannot be read"},
		"many":    {many.String() + "}", "more than 2000 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if svg, fault := draw(t, c.description); !strings.Contains(fault, c.says) || strings.Contains(fault, "\n") || strings.Contains(fault, "panic") {
				t.Errorf("%q, %.100s", fault, svg)
			}
		})
	}
}

// Of 50 nodes each can be read: no two boxes overlap, and the picture has the form of a screen.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("graph { ")
	for i := range 50 {
		fmt.Fprintf(&b, "\"r%d\" [label=\"r%d [frr]\\n10.0.0.%d/32\"]\n", i, i, i)
	}
	for i := range 16 {
		for s := range 4 {
			fmt.Fprintf(&b, "r%d -- r%d\n", s, i+4)
		}
	}
	for i := range 30 {
		fmt.Fprintf(&b, "r%d -- r%d\n", i+20, i%16+4)
	}
	svg, fault := draw(t, b.String()+"}")
	if fault != "" {
		t.Fatal(fault)
	}
	p := parse(t, svg)
	has(t, "text", p.texts, "r0", "r49")
	m := regexp.MustCompile(`width="([0-9]+)pt" height="([0-9]+)pt"`).FindStringSubmatch(svg)
	if m == nil {
		t.Fatalf("no size in %.300s", svg)
	}
	width, _ := strconv.Atoi(m[1])
	height, _ := strconv.Atoi(m[2])
	if width > 2000 || height > 2000 || width > 3*height || height > 3*width {
		t.Errorf("%d x %d points", width, height)
	}
	boxes := boxesOf(t, svg)
	if len(boxes) != 50 {
		t.Fatalf("%d boxes", len(boxes))
	}
	for i, a := range boxes {
		for _, b := range boxes[:i] {
			if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
				t.Errorf("%+v and %+v overlap", a, b)
			}
		}
	}
}

// No link of 50 nodes runs behind a node that it does not end at: it would be read as two others.
func TestLinksGoAroundNodes(t *testing.T) {
	t.Parallel()
	description, err := os.ReadFile("testdata/fifty.dot") // Netlab's own
	if err != nil {
		t.Fatal(err)
	}
	svg, fault := draw(t, string(description))
	if fault != "" {
		t.Fatal(fault)
	}
	boxes, links := boxesOf(t, svg), strings.Split(svg, `class="edge"`)[1:]
	if len(boxes) != 50 || len(links) != 64 {
		t.Fatalf("%d boxes, %d links", len(boxes), len(links))
	}
	for _, link := range links {
		points := pointsOf(t, link)
		for _, b := range boxes {
			if b.has(points[0], -4) || b.has(points[len(points)-1], -4) {
				continue // it ends there
			}
			for i := 0; i+3 < len(points); i += 3 {
				for step := range 101 {
					if p := bezier(points[i:i+4], float64(step)/100); b.has(p, 1) {
						t.Fatalf("a link runs through %+v at %v: %.300s", b, p, link)
					}
				}
			}
		}
	}
}

type point struct{ x, y float64 }

// bezier is the point of a curve at s, from 0 to 1.
func bezier(p []point, s float64) point {
	u := 1 - s
	at := func(a, b, c, d float64) float64 { return u*u*u*a + 3*u*u*s*b + 3*u*s*s*c + s*s*s*d }
	return point{at(p[0].x, p[1].x, p[2].x, p[3].x), at(p[0].y, p[1].y, p[2].y, p[3].y)}
}

// pointsOf are those of the first path in the text.
func pointsOf(t *testing.T, text string) (points []point) {
	t.Helper()
	_, path, _ := strings.Cut(text, ` d="`)
	path, _, _ = strings.Cut(path, `"`)
	for _, field := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("MC ", r) }) {
		var p point
		if _, err := fmt.Sscanf(field, "%f,%f", &p.x, &p.y); err != nil {
			t.Fatalf("%v: %s", err, field)
		}
		points = append(points, p)
	}
	return points
}

// has says whether the point is inside, so far from the frame.
func (b box) has(p point, margin float64) bool {
	return p.x > b.left+margin && p.x < b.right-margin && p.y > b.top+margin && p.y < b.bottom-margin
}

type box struct{ left, top, right, bottom float64 }

// boxesOf are the frames of the nodes.
func boxesOf(t *testing.T, svg string) (boxes []box) {
	t.Helper()
	for _, part := range strings.Split(svg, `class="node"`)[1:] {
		b := box{1e9, 1e9, -1e9, -1e9}
		points := pointsOf(t, part)
		if len(points) == 0 {
			continue // a segment, which is an ellipse
		}
		for _, p := range points {
			b = box{min(b.left, p.x), min(b.top, p.y), max(b.right, p.x), max(b.bottom, p.y)}
		}
		boxes = append(boxes, b)
	}
	return boxes
}
