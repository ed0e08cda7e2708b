package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bareConfig is what the roles bare-bus, bare-worker and bare-idle are told.
type bareConfig struct {
	Dir string
	// Life is a file with the messages to send.
	Life      string
	URL, Host string
	Slots     int
	// Files says that a worker keeps those of each job that it needs.
	Files bool
	// Jobs is how many have ended when bare-idle is ready.
	Jobs int
}

// newBareConfig has a new directory and the messages.
func (b *bench) newBareConfig(l *life) (c bareConfig, err error) {
	if c.Dir, err = b.newDir("bare"); err != nil {
		return c, err
	}
	c.Life = filepath.Join(c.Dir, "life.json")
	text, err := json.Marshal(l)
	if err != nil {
		return c, err
	}
	return c, os.WriteFile(c.Life, text, 0o644)
}

func readBareConfig(config json.RawMessage) (*bareConfig, *life, error) {
	c, l := &bareConfig{}, &life{}
	if err := json.Unmarshal(config, c); err != nil {
		return nil, nil, err
	}
	if c.Life == "" {
		return c, l, nil
	}
	text, err := os.ReadFile(c.Life)
	if err != nil {
		return nil, nil, err
	}
	return c, l, json.Unmarshal(text, l)
}

// send publishes a message of a job under a subject, if the last one there has the sequence last.
func send(ctx context.Context, js jetstream.JetStream, m message, subject string, check jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: m.Header, Data: m.Data}, check)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", subject, err)
	}
	return ack.Sequence, nil
}

// copyOf returns a message whose header nobody else has: the client writes its checks into it.
func copyOf(m message) message {
	header := make(nats.Header, len(m.Header)+2)
	for k, v := range m.Header {
		header[k] = v
	}
	return message{header, m.Data}
}

// roleBareBus is a server that, told a number of jobs, publishes their requests as many at once as there are clients on the
// other side, and answers with the time until it has seen all of them succeed.
func roleBareBus(ctx context.Context, config json.RawMessage, t *talk) error {
	c, l, err := readBareConfig(config)
	if err != nil {
		return err
	}
	bare, err := startBareServer(ctx, c.Dir, true)
	if err != nil {
		return err
	}
	defer bare.stop()
	for i := range jobsHosts {
		_, err := bare.js.CreateConsumer(ctx, bareJobs, jetstream.ConsumerConfig{
			Durable: bareHost(i), FilterSubject: "bare." + bareHost(i) + ".*.request", AckPolicy: jetstream.AckExplicitPolicy,
		})
		if err != nil {
			return err
		}
	}
	succeeded := make(chan struct{}, 1<<16)
	follower, err := bare.js.OrderedConsumer(ctx, bareJobs, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"bare.*.*.status"}})
	if err != nil {
		return err
	}
	kind := l.Success.Header["ce-type"]
	following, err := follower.Consume(func(m jetstream.Msg) {
		if got := m.Headers()["ce-type"]; len(got) == 1 && len(kind) == 1 && got[0] == kind[0] {
			succeeded <- struct{}{}
		}
	})
	if err != nil {
		return err
	}
	defer following.Stop()
	if err := t.ready(facts{"bus": bare.server.ClientURL()}); err != nil {
		return err
	}
	for batch := 0; ; batch++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case question := <-t.questions:
			n, err := strconv.Atoi(string(question))
			if err != nil {
				return err
			}
			start := time.Now()
			if err := publishRequests(ctx, bare.js, l.Request, batch, n); err != nil {
				return err
			}
			for range n {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-succeeded:
				}
			}
			if err := t.answers.Encode(time.Since(start)); err != nil {
				return err
			}
		}
	}
}

func publishRequests(ctx context.Context, js jetstream.JetStream, m message, batch, n int) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var publishers sync.WaitGroup
	for range connections {
		publishers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				check := jetstream.WithExpectLastSequenceForSubject(0, "bare.*."+bareID(batch, i)+".request")
				if _, err := send(ctx, js, copyOf(m), bareJob(batch, i)+"request", check); err != nil {
					fail(err)
				}
			}
		})
	}
	publishers.Wait()
	return context.Cause(ctx)
}

func bareID(batch, i int) string { return fmt.Sprintf("job-%d-%d", batch, i) }

// bareJob is what the subjects of the i-th job of a batch begin with.
func bareJob(batch, i int) string {
	return "bare." + bareHost(i%jobsHosts) + "." + bareID(batch, i) + "."
}

// roleBareWorker takes the requests of one host, acknowledges each, and publishes what a job's worker does: the claim, the
// log, the end.
func roleBareWorker(ctx context.Context, config json.RawMessage, t *talk) error {
	c, l, err := readBareConfig(config)
	if err != nil {
		return err
	}
	conn, js, err := connectBare(c.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	consumer, err := js.Consumer(ctx, bareJobs, c.Host)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	slots := make(chan struct{}, c.Slots)
	var files *leastFiles
	if c.Files {
		files = &leastFiles{filepath.Join(c.Dir, c.Host)}
	}
	taking, err := consumer.Consume(func(m jetstream.Msg) {
		subject := strings.TrimSuffix(m.Subject(), "request")
		if err := errors.Join(files.take(subject, m.Data()), m.Ack()); err != nil {
			fail(err)
			return
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			if err := l.live(ctx, js, subject, files); err != nil {
				fail(err)
			}
		}()
	})
	if err != nil {
		return err
	}
	defer taking.Stop()
	if err := t.ready(facts{}); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// live publishes what follows a request, each message checked against the one before it.
func (l *life) live(ctx context.Context, js jetstream.JetStream, subject string, files *leastFiles) error {
	claim, err := send(ctx, js, copyOf(l.Running), subject+"status", jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil {
		return err
	}
	if _, err := send(ctx, js, copyOf(l.Log), subject+"log", jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
		return err
	}
	if err := files.end(subject, l.Success.Data); err != nil {
		return err
	}
	_, err = send(ctx, js, copyOf(l.Success), subject+"status", jetstream.WithExpectLastSequencePerSubject(claim))
	return err
}
