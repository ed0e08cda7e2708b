package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// takeTurns runs the benchmarks of both revisions in turns, every other time in reverse order, so that none always comes first. A run that
// is not over within the time that they have is ended, and does not count.
func (o *options) takeTurns(ctx context.Context, progress io.Writer, before, after *revision) error {
	if o.within > 0 {
		limited, cancel := context.WithTimeout(ctx, o.within)
		defer cancel()
		err := o.takeAll(limited, progress, before, after)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		if before.rows != nil && after.rows == nil {
			return fmt.Errorf("within %s the benchmarks of %s did not end once", o.within, after)
		}
		_, err = fmt.Fprintf(progress, "%s are over\n", o.within)
		return err
	}
	return o.takeAll(ctx, progress, before, after)
}

func (o *options) takeAll(ctx context.Context, progress io.Writer, before, after *revision) error {
	args := []string{"-run", o.figures, "-rounds", strconv.Itoa(o.rounds), "-python", o.python}
	if o.short {
		args = append(args, "-short")
	}
	first, second := before, after
	for turn := range o.turns {
		_, _ = fmt.Fprintf(progress, "turn %d of %d\n", turn+1, o.turns)
		for _, r := range []*revision{first, second} {
			if err := r.measure(ctx, args); err != nil {
				return err
			}
		}
		first, second = second, first
	}
	return nil
}
