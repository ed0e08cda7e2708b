package main

import (
	"context"
	"encoding/json"
	"strconv"
)

// startBareIdle starts a server that has the messages of so many jobs and nothing to do. As on the other side, what it takes to store
// them so fast is not in its memory.
func (b *bench) startBareIdle(ctx context.Context, l *life, count int) (*child, error) {
	c, err := b.newBareConfig(l)
	if err != nil {
		return nil, err
	}
	c.Jobs = count
	filled, err := b.start(ctx, "bare-idle", c)
	if err != nil {
		return nil, err
	}
	if err := filled.end(); err != nil {
		return nil, err
	}
	return b.start(ctx, "bare-idle", bareConfig{Dir: c.Dir})
}

// roleBareIdle is a server that stores the messages of so many jobs and then has nothing to do. Its fact is how many "messages" there are.
func roleBareIdle(ctx context.Context, config json.RawMessage, t *talk) error {
	c, l, err := readBareConfig(config)
	if err != nil {
		return err
	}
	bare, err := startBareServer(ctx, c.Dir, true)
	if err != nil {
		return err
	}
	defer bare.stop()
	if err := publishRequests(ctx, bare.js, l.Request, 0, c.Jobs); err != nil {
		return err
	}
	for i := range c.Jobs {
		if err := l.live(ctx, bare.js, bareJob(0, i), nil); err != nil {
			return err
		}
	}
	messages := uint64(0)
	for _, name := range []string{bareJobs, bareLogs} {
		stream, err := bare.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		messages += stream.CachedInfo().State.Msgs
	}
	if err := t.ready(facts{"messages": strconv.FormatUint(messages, 10)}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
