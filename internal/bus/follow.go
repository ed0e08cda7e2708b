package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lookEvery is how often a stream that is followed is looked at, whether it is still the one that was read.
const lookEvery = 2 * time.Second

// closePatience is how long a consumer may take to be closed.
const closePatience = 2 * time.Second

// follow reads a stream with one ordered consumer until ctx ends. caughtUp is called once, when everything that was there
// at the start has been handled. ErrLost: the stream has not all any more that was read of it.
func (b *Bus) follow(ctx context.Context, stream string, c jetstream.OrderedConsumerConfig, handle func(jetstream.Msg, uint64), caughtUp func()) error {
	var consumer jetstream.Consumer
	var begin streamMark
	err := b.Retry(ctx, "consumer of "+stream, func(ctx context.Context) (err error) {
		if begin, err = b.mark(ctx, stream); err != nil {
			return err
		}
		consumer, err = b.js.OrderedConsumer(ctx, stream, c)
		return translate(err)
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	var once sync.Once
	done := func() { once.Do(caughtUp) }
	if consumer.CachedInfo().NumPending == 0 {
		done()
	}
	var read atomic.Uint64
	var stopped atomic.Bool
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if stopped.Load() {
			return
		}
		meta, err := m.Metadata()
		if err != nil {
			b.log.Error("bus: message without metadata", "subject", m.Subject(), "error", err)
			return
		}
		handle(m, meta.Sequence.Stream)
		read.Store(meta.Sequence.Stream)
		if meta.NumPending == 0 {
			done()
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		b.log.Warn("bus: following "+stream, "error", err)
	}))
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, translate(err))
	}
	err = b.awaitLoss(ctx, lookEvery, &watched{stream, begin, &read})
	stopped.Store(true)
	consuming.Stop()
	select {
	case <-consuming.Closed():
	case <-time.After(closePatience): // one that is just being made anew by the client is never said to be closed
	}
	return err
}

// streamMark tells a stream from another one under its name, and from itself when it had less.
type streamMark struct {
	made time.Time
	// last is the sequence of its newest message.
	last uint64
}

// mark looks at a stream. ErrLost: there is none.
func (b *Bus) mark(ctx context.Context, stream string) (streamMark, error) {
	s, err := b.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return streamMark{}, fmt.Errorf("%w: there is no stream %s", ErrLost, stream)
	}
	if err != nil {
		return streamMark{}, translate(err)
	}
	info := s.CachedInfo()
	now := time.Now()
	b.answered.Store(&now)
	if stream == jobsStream {
		b.crowded.Store(info.Config.MaxBytes > 0 && info.State.Bytes > uint64(info.Config.MaxBytes)/100*birthShare)
	}
	return streamMark{made: info.Created, last: info.State.LastSeq}, nil
}

// watched is a stream as it was.
type watched struct {
	stream string
	was    streamMark
	// read is the sequence of the newest message that was read of it.
	read *atomic.Uint64
}

// look returns ErrLost when the stream is another one than it was, or ends before what was read of it: an ordered consumer would
// wait there for sequences that are used again, and miss what comes under them. A stream that is away may be as it was.
func (b *Bus) look(ctx context.Context, w *watched) error {
	had := max(w.was.last, w.read.Load())
	now, err := b.mark(ctx, w.stream)
	switch {
	case errors.Is(err, ErrLost):
		return err
	case err != nil:
		return nil
	case !now.made.Equal(w.was.made):
		return fmt.Errorf("%w: the stream %s was made anew", ErrLost, w.stream)
	case now.last < had:
		return fmt.Errorf("%w: the stream %s ends at %d, and had %d", ErrLost, w.stream, now.last, had)
	}
	w.was.last = now.last
	return nil
}

// awaitLoss looks at streams every so often, and after each reconnect. It returns when ctx ends, or with ErrLost.
func (b *Bus) awaitLoss(ctx context.Context, every time.Duration, streams ...*watched) error {
	connected := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(connected)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-connected:
		case <-tick.C:
		}
		for _, w := range streams {
			if err := b.look(ctx, w); err != nil {
				return err
			}
		}
	}
}

// hostLookEvery is how often a host looks at the streams, of which there may be many more than of APIs.
const hostLookEvery = 5 * time.Second

// lostTail is how long ago the newest messages may have come that a server has lost.
const lostTail = time.Hour

// FollowLosses calls restore at the start, and whenever the stream of jobs or that of logs has lost something, until ctx ends. What
// was published between from and to may be missing.
func (b *Bus) FollowLosses(ctx context.Context, restore func(ctx context.Context, from, to time.Time)) error {
	var made time.Time
	for {
		var streams []*watched
		for _, stream := range []string{jobsStream, logsStream} {
			w := &watched{stream: stream, read: &atomic.Uint64{}}
			// An API makes them again.
			err := b.retry(ctx, "stream "+stream, func(ctx context.Context) (err error) {
				w.was, err = b.mark(ctx, stream)
				return err
			}, ErrUnavailable, ErrLost)
			if err != nil {
				return err
			}
			streams = append(streams, w)
		}
		if now := time.Now(); streams[0].was.made.Equal(made) {
			restore(ctx, now.Add(-lostTail), now)
		} else {
			made = streams[0].was.made
			restore(ctx, time.Time{}, made)
		}
		err := b.awaitLoss(ctx, hostLookEvery, streams...)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Warn("bus", "error", err)
	}
}

// Silence is how long the bus has not answered any more what it is asked every few seconds by who follows it; 0 while it does.
func (b *Bus) Silence() time.Duration {
	last := b.answered.Load()
	if last == nil {
		return 0
	}
	// Two looks may miss, one after the other, without anything being wrong.
	if since := time.Since(*last); !b.Connected() || since > 3*lookEvery {
		return since
	}
	return 0
}
