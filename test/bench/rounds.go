package main

import (
	"context"
	"fmt"
	"slices"
)

// sample is what one measurement gave, by the name of the quantity.
type sample map[string]float64

// side is one of the things that are compared.
type side struct {
	name    string
	measure func(ctx context.Context) (sample, error)
}

// results are the samples of each side, one a round.
type results map[string][]sample

// inTurns measures every side once a round. Every other round goes the other way round, so that none always comes first.
func (b *bench) inTurns(ctx context.Context, figure string, sides ...side) (results, error) {
	r := results{}
	for round := range b.rounds {
		_, _ = fmt.Fprintf(b.progress, "%s: round %d of %d\n", figure, round+1, b.rounds)
		for _, s := range sides {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			got, err := s.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			r[s.name] = append(r[s.name], got)
		}
		slices.Reverse(sides)
	}
	return r, nil
}

// of returns one quantity of a side, one value a round.
func (r results) of(side, quantity string) []float64 {
	values := make([]float64, 0, len(r[side]))
	for _, s := range r[side] {
		values = append(values, s[quantity])
	}
	return values
}

// median returns 0 for no values.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which the share q of the values lies, 0 for none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	part := at - float64(below)
	return sorted[below]*(1-part) + sorted[below+1]*part
}
