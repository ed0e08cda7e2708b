package worker

import (
	"context"
	"os"
	"time"
)

// quietTime is how long a run may write nothing before its log says that it goes on.
const quietTime = 30 * time.Minute

// quiet says in the log that the run, which began at that time, goes on, whenever nothing has been written for long: clients
// take a run that is silent for hours for one that is stuck. It returns when ctx ends.
func (r *run) quiet(ctx context.Context, began time.Time) {
	limit := r.w.config.Quiet
	if limit <= 0 {
		limit = quietTime
	}
	next := time.NewTimer(limit)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		silent := limit
		if info, err := os.Stat(r.entry.output()); err == nil {
			silent = time.Since(info.ModTime())
		}
		if silent < limit {
			next.Reset(limit - silent)
			continue
		}
		now := time.Now()
		err := say(r.entry.output(), "no output for %s, the run goes on (%s since its start)", silent.Round(limit/30), now.Sub(began).Round(limit/30))
		if err != nil {
			r.log.Error("log", "error", err)
		}
		next.Reset(limit)
	}
}
