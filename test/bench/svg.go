package main

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed growth.svg.tmpl
var pictureText string

// picture is what the template shows of an axis. The curves are between the four sides, in units of the picture; the legend is on the
// right of them.
type picture struct {
	Left, Right, Top, Bottom float64

	Title, Description string
	XLabel             string
	XTicks, YTicks     []tick
	Lines              []line
}

// tick is a mark of one of the two scales, at a place along it.
type tick struct {
	At    float64
	Label string
}

// line is a curve, with its place in the legend.
type line struct {
	Number int // from 1; the style sheet has a colour and a pattern for each
	Points []point
	Path   string
	Label  string
	Detail string // its unit and exponent
	At     float64
}

type point struct{ X, Y float64 }

// svg draws the curves of an axis on two logarithmic scales, on which a power of the size is a straight line. It is one scale for all
// quantities, each in the unit of its own that the legend names.
func (a *grown) svg(w io.Writer) error {
	t, err := template.New("picture").Funcs(template.FuncMap{"text": html.EscapeString}).Parse(pictureText)
	if err != nil {
		return err
	}
	return t.Execute(w, a.picture())
}

func (a *grown) picture() *picture {
	p := &picture{Left: 64, Right: 514, Top: 48, Bottom: 348, Title: "How it grows: " + a.Title, Description: a.describe(), XLabel: a.Unit}
	x := scale{float64(a.Sizes[0]), float64(a.Sizes[len(a.Sizes)-1]), p.Left, p.Right}
	least, most := a.decades()
	y := scale{least, most, p.Bottom, p.Top}
	p.YTicks = y.decades()
	for _, size := range a.Sizes {
		p.XTicks = append(p.XTicks, tick{x.at(float64(size)), thousands(size)})
	}
	for i, c := range a.Curves {
		l := line{Number: i + 1, Label: c.Name, Detail: c.Unit + ", exponent " + signed(c.Exponent), At: p.Top + 12 + 48*float64(i)}
		for j, value := range c.medians() {
			if value > 0 {
				l.Points = append(l.Points, point{x.at(float64(a.Sizes[j])), y.at(value)})
			}
		}
		var path []string
		for _, p := range l.Points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", p.X, p.Y))
		}
		l.Path = strings.Join(path, " ")
		p.Lines = append(p.Lines, l)
	}
	return p
}

// describe says in words what the picture shows.
func (a *grown) describe() string {
	var parts []string
	for _, c := range a.Curves {
		var values []string
		for i, value := range c.medians() {
			values = append(values, fmt.Sprintf("%s at %s", number(value), thousands(a.Sizes[i])))
		}
		parts = append(parts, fmt.Sprintf("%s in %s: %s; exponent %s.", c.Name, c.Unit, strings.Join(values, ", "), signed(c.Exponent)))
	}
	return fmt.Sprintf("By %s, both scales logarithmic. %s", a.Unit, strings.Join(parts, " "))
}

// decades are the powers of ten between which the values of all curves are.
func (a *grown) decades() (least, most float64) {
	var all []float64
	for _, c := range a.Curves {
		all = append(all, c.medians()...)
	}
	all = slices.DeleteFunc(all, func(v float64) bool { return v <= 0 })
	if len(all) == 0 {
		all = []float64{1}
	}
	from := math.Floor(math.Log10(slices.Min(all)))
	to := max(math.Ceil(math.Log10(slices.Max(all))), from+1)
	return math.Pow(10, from), math.Pow(10, to)
}

// scale is a logarithmic one, from least to most, between two places in the picture.
type scale struct{ least, most, from, to float64 }

func (s scale) at(v float64) float64 {
	if s.least == s.most {
		return s.from
	}
	part := math.Log(v/s.least) / math.Log(s.most/s.least)
	return math.Round(10*(s.from+part*(s.to-s.from))) / 10
}

// decades are ticks at the powers of ten.
func (s scale) decades() []tick {
	var ticks []tick
	for v := s.least; v < s.most*1.5; v *= 10 {
		label := strconv.FormatFloat(v, 'g', 4, 64)
		if v >= 1 {
			label = thousands(int(math.Round(v)))
		}
		ticks = append(ticks, tick{s.at(v), label})
	}
	return ticks
}

// thousands writes a number with a comma before each three digits.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
