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
//
// What it compares are the file's times with each other: one that did not change between two looks is silence, whatever was
// done to the clock.
func (r *run) quiet(ctx context.Context, began time.Time) {
	limit := r.w.config.Quiet
	if limit <= 0 {
		limit = quietTime
	}
	next := time.NewTimer(limit)
	defer next.Stop()
	last := changed(r.entry.output())
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if at := changed(r.entry.output()); !at.Equal(last) {
			last = at
			silent := time.Since(at)
			if silent < 0 || silent > limit { // the clock was set
				silent = 0
			}
			next.Reset(limit - silent)
			continue
		}
		err := say(r.entry.output(), "no output for %s, the run goes on (%s since its start)", limit, time.Since(began).Round(limit/30))
		if err != nil {
			r.log.Error("log", "error", err)
		}
		last = changed(r.entry.output())
		next.Reset(limit)
	}
}

// changed is when the file was last written to, the zero time where there is none.
func changed(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
