package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// follow reads a stream with one ordered consumer until ctx ends. caughtUp is called once, when everything that was there
// at the start has been handled.
func (b *Bus) follow(ctx context.Context, stream string, c jetstream.OrderedConsumerConfig, handle func(jetstream.Msg, uint64), caughtUp func()) error {
	var consumer jetstream.Consumer
	err := b.Retry(ctx, "consumer of "+stream, func(ctx context.Context) (err error) {
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
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			b.log.Error("bus: message without metadata", "subject", m.Subject(), "error", err)
			return
		}
		handle(m, meta.Sequence.Stream)
		if meta.NumPending == 0 {
			done()
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		b.log.Warn("bus: following "+stream, "error", err)
	}))
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, translate(err))
	}
	<-ctx.Done()
	consuming.Stop()
	<-consuming.Closed()
	return ctx.Err()
}
