package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

const mebibyte = 1 << 20

// measureRelay measures how fast one follower gets a large log of a job that has ended. The baseline reads the same messages
// from the same stream.
func measureRelay(ctx context.Context, b *bench) (rows []row, err error) {
	size := int64(b.amount(200, 1)) * mebibyte
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 1, Flood: size})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	job, err := s.submit(ctx, s.createJob("relay"))
	if err != nil {
		return nil, err
	}
	if err := s.awaitDone(ctx); err != nil {
		return nil, err
	}
	if err := s.get(ctx, "/jobs/"+job.ID, &job); err != nil {
		return nil, err
	}
	if job.State != jobs.Success || job.LogBytes < size {
		return nil, fmt.Errorf("job %s is %s with %d bytes of log", job.ID, job.State, job.LogBytes)
	}
	conn, js, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Several times in a row, so that it takes long enough to be measured.
	times := b.amount(5, 1)
	total := int64(times) * job.LogBytes
	r, err := b.inTurns(ctx, "relay",
		side{"here", func(ctx context.Context) (sample, error) {
			start := time.Now()
			for range times {
				got, err := s.follow(ctx, job.ID, nil)
				if err == nil && got != job.LogBytes {
					err = fmt.Errorf("%d bytes, want %d", got, job.LogBytes)
				}
				if err != nil {
					return nil, err
				}
			}
			return sample{"rate": mebibytesASecond(total, start)}, nil
		}},
		side{"bare", func(ctx context.Context) (sample, error) {
			start := time.Now()
			subject := "netlab.jobs." + job.Host + "." + job.ID + ".log"
			for range times {
				if err := consume(ctx, js, "NETLAB_LOGS", subject, job.LogBytes); err != nil {
					return nil, err
				}
			}
			return sample{"rate": mebibytesASecond(total, start)}, nil
		}},
	)
	if err != nil {
		return nil, err
	}
	return []row{{
		fmt.Sprintf("log of %d MiB to one follower, job ended", size/mebibyte), "MiB/s", more,
		r.of("here", "rate"), r.of("bare", "rate"), "an ordered consumer of the same stream",
	}}, nil
}

func mebibytesASecond(size int64, since time.Time) float64 {
	return float64(size) / mebibyte / time.Since(since).Seconds()
}

// consume reads a subject with an ordered consumer until so many bytes have come.
func consume(ctx context.Context, js jetstream.JetStream, stream, subject string, size int64) error {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return err
	}
	done := make(chan int64, 1)
	var got int64
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if got += int64(len(m.Data())); got >= size && got-int64(len(m.Data())) < size {
			done <- got
		}
	})
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case got := <-done:
		if got != size {
			return fmt.Errorf("%d bytes, want %d", got, size)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
