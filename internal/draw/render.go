package draw

import (
	"bytes"
	"context"
	"fmt"

	"github.com/goccy/go-graphviz"
)

// SVG draws the picture.
func (p *Picture) SVG(ctx context.Context) ([]byte, error) {
	g, err := graphviz.ParseBytes(p.dot())
	if err != nil {
		return nil, fmt.Errorf("cannot read what is to be drawn: %w", err)
	}
	viz, err := graphviz.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot start Graphviz: %w", err)
	}
	var picture bytes.Buffer
	if err := viz.SetLayout(graphviz.Layout(p.engine())).Render(ctx, g, graphviz.SVG, &picture); err != nil {
		return nil, fmt.Errorf("cannot draw the graph: %w", err)
	}
	return p.clean(picture.Bytes())
}
