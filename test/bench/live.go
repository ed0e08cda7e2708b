package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// chunk is the size of a message of the bare side: as much as a worker puts into one.
const chunk = 64 << 10

// measureLive measures how fast a large log reaches its follower while the run writes it as fast as it can: into its file,
// over the bus, into the API's file. The baseline publishes the same text, chunk after chunk, each checked against the last,
// to an ordered consumer.
func measureLive(ctx context.Context, b *bench) (rows []row, err error) {
	size := int64(b.amount(64, 1)) * mebibyte
	s, err := b.startNoopSystem(ctx, 1, noopWorker{Slots: 1, Flood: size})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	dir, err := b.newDir("bare")
	if err != nil {
		return nil, err
	}
	bare, err := b.start(ctx, "bare-bus", bareConfig{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.end()) }()
	text := verbose(size)
	round := 0
	r, err := b.inTurns(ctx, "live",
		side{"here", func(ctx context.Context) (sample, error) {
			round++
			start := time.Now()
			job, err := s.submit(ctx, s.createJob("live"+strconv.Itoa(round)))
			if err != nil {
				return nil, err
			}
			got, err := s.follow(ctx, job.ID, nil)
			took := sample{"rate": mebibytesASecond(got, start)}
			if err == nil && got < size {
				err = fmt.Errorf("%d bytes, want %d at least", got, size)
			}
			return took, errors.Join(err, s.succeeded(ctx, job.ID))
		}},
		side{"bare", func(ctx context.Context) (sample, error) {
			return liveBare(ctx, bare.facts["bus"], "bare.host."+nats.NewInbox()[len("_INBOX."):]+".log", text)
		}},
	)
	if err != nil {
		return nil, err
	}
	return []row{{
		fmt.Sprintf("log of %d MiB to one follower, while it is written", size/mebibyte), "MiB/s", more,
		r.of("here", "rate"), r.of("bare", "rate"), "checked publishes to an ordered consumer",
	}}, nil
}

// liveBare publishes and reads on two connections.
func liveBare(ctx context.Context, url, subject string, text []byte) (sample, error) {
	reading, reader, err := connectBare(url)
	if err != nil {
		return nil, err
	}
	defer reading.Close()
	writing, writer, err := connectBare(url)
	if err != nil {
		return nil, err
	}
	defer writing.Close()
	start := time.Now()
	read := make(chan error, 1)
	go func() { read <- consume(ctx, reader, bareLogs, subject, int64(len(text))) }()
	var last uint64
	for piece := range slices.Chunk(text, chunk) {
		ack, err := writer.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: piece}, jetstream.WithExpectLastSequencePerSubject(last))
		if err != nil {
			return nil, err
		}
		last = ack.Sequence
	}
	if err := <-read; err != nil {
		return nil, err
	}
	return sample{"rate": mebibytesASecond(int64(len(text)), start)}, nil
}
