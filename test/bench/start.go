package main

import (
	"context"
	"time"
)

// measureStart measures how long netlab-api takes with nothing stored, from the start of its process until it is ready: its
// server is started, the streams are made, and there is nothing to read. There is no baseline.
func measureStart(ctx context.Context, b *bench) ([]row, error) {
	once := func(ctx context.Context) (sample, error) {
		start := time.Now()
		s, err := b.launch(ctx, nil)
		if err != nil {
			return nil, err
		}
		return sample{"ready": milliseconds(start)}, s.end()
	}
	if _, err := once(ctx); err != nil { // the program's file is read from the disk
		return nil, err
	}
	r, err := b.inTurns(ctx, "start", side{"here", once})
	if err != nil {
		return nil, err
	}
	return []row{{Name: "netlab-api, start to ready, empty store", Unit: "ms", Better: less, Here: r.of("here", "ready")}}, nil
}
