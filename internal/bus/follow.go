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
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
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
	err = b.awaitLoss(ctx, stream, begin, &read)
	consuming.Stop()
	<-consuming.Closed()
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
	return streamMark{made: info.Created, last: info.State.LastSeq}, nil
}

// awaitLoss returns when ctx ends, or with ErrLost when the stream is another one than at the beginning, or ends before what
// was read of it: an ordered consumer would wait there for sequences that are used again, and miss what comes under them.
func (b *Bus) awaitLoss(ctx context.Context, stream string, begin streamMark, read *atomic.Uint64) error {
	connected := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(connected)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-connected:
		case <-tick.C:
		}
		had := max(begin.last, read.Load())
		now, err := b.mark(ctx, stream)
		switch {
		case errors.Is(err, ErrLost):
			return err
		case err != nil: // it is away
		case !now.made.Equal(begin.made):
			return fmt.Errorf("%w: the stream %s was made anew", ErrLost, stream)
		case now.last < had:
			return fmt.Errorf("%w: the stream %s ends at %d, and had %d", ErrLost, stream, now.last, had)
		default:
			begin.last = now.last
		}
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
