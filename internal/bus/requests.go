package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// redeliverAfter is how long the server waits for a worker's word that a request is on its disk. Taking one takes
// milliseconds; a worker that died in between gets it again after this time.
const redeliverAfter = 5 * time.Second

// pullExpiry is how long one question for requests stands. One that was lost is noticed within half of it, by the missing
// heartbeats, and a host waits no longer for its next job: the client's default would be 30 s.
const pullExpiry = 4 * time.Second

// EnsureConsumer makes the durable consumer that gives a host its requests. It is made on the API's side: a host that may
// make consumers could read those of others.
func (b *Bus) EnsureConsumer(ctx context.Context, host string) error {
	c := jetstream.ConsumerConfig{
		Durable:       host,
		Description:   "requests for host " + host,
		FilterSubject: publicSubject(host, "*", kindRequest),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       redeliverAfter,
		// A finite number would leave a request undelivered for ever.
		MaxDeliver: -1,
		// One at a time keeps the order of arrival also over redeliveries.
		MaxAckPending: 1,
	}
	// Several APIs do this while the worker reads. A consumer that is as it should be is left alone.
	_, err := b.js.CreateConsumer(ctx, jobsStream, c)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		_, err = b.js.UpdateConsumer(ctx, jobsStream, c)
	}
	return translate(err)
}

// TakeRequests gives the host's requests to handle, in order of arrival, each until handle returned nil, until ctx ends.
// begun is called when the host's consumer is there. seq is the request's place in that order. The same request may come again: its id tells. A request that cannot be read is skipped with an error in the log.
func (b *Bus) TakeRequests(ctx context.Context, host string, begun func(), handle func(ctx context.Context, birth *Birth, seq uint64) error) error {
	var consumer jetstream.Consumer
	err := b.Retry(ctx, "requests of "+host, func(ctx context.Context) (err error) {
		consumer, err = b.js.Consumer(ctx, jobsStream, host)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: no API has made the consumer yet", ErrUnavailable)
		}
		return translate(err)
	})
	if err != nil {
		return fmt.Errorf("take requests: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(32), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullExpiry/4))
	if err != nil {
		return fmt.Errorf("take requests: %w", translate(err))
	}
	defer messages.Stop()
	begun()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	for {
		m, err := messages.Next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// The consumer may be there no more: it is looked for anew.
			return fmt.Errorf("take requests: %w: %w", ErrUnavailable, err)
		}
		b.take(ctx, m, handle)
	}
}

// Taken is up to which sequence the host has taken its requests. ErrUnavailable: no API has made its consumer yet.
func (b *Bus) Taken(ctx context.Context, host string) (uint64, error) {
	consumer, err := b.js.Consumer(ctx, jobsStream, host)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%w: no API has made the consumer yet", ErrUnavailable)
	}
	if err != nil {
		return 0, translate(err)
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

func (b *Bus) take(ctx context.Context, m jetstream.Msg, handle func(context.Context, *Birth, uint64) error) {
	meta, err := m.Metadata()
	if err != nil {
		b.log.Error("bus: request without metadata", "subject", m.Subject(), "error", err)
		return
	}
	birth, err := decodeBirth(m.Subject(), m.Data())
	if err != nil {
		b.log.Error("bus: unreadable request skipped", "subject", m.Subject(), "error", err)
		_ = m.Term()
		return
	}
	if err := handle(ctx, birth, meta.Sequence.Stream); err != nil {
		b.log.Error("bus: request not taken, it will come again", "job", birth.ID, "error", err)
		_ = m.NakWithDelay(time.Second)
		return
	}
	// Confirmed, since with one request at a time the next comes only after this one's acknowledgement arrived.
	if err := m.DoubleAck(ctx); err != nil {
		b.log.Warn("bus: acknowledgement", "job", birth.ID, "error", err)
	}
}

// decodeBirth reads a request. One of another job than its subject says is somebody else's publish: acted on, it would be told
// under that job's subjects.
func decodeBirth(subject string, data []byte) (*Birth, error) {
	birth := &Birth{}
	if err := jobs.Decode(data, birth); err != nil {
		return nil, err
	}
	if host, id, _, ok := subjectTokens(subject); !ok || host != birth.Host || id != birth.ID || !jobs.ValidID(id) {
		return nil, fmt.Errorf("it is of job %q on host %q", birth.ID, birth.Host)
	}
	return birth, nil
}
