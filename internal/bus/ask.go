package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	headerMore  = "Netlab-More"
	headerError = "Netlab-Error"
	// replyChunk bounds one message of a reply, so that a large one needs no large message.
	replyChunk = 256 << 10
	// replyLimit bounds a whole reply in memory.
	replyLimit = 16 << 20
	// replyPieces bounds its messages.
	replyPieces = 4 * replyLimit / replyChunk
)

// HostError is a host's own answer that it could not do what was asked.
type HostError struct{ Host, Text string }

func (e *HostError) Error() string { return fmt.Sprintf("host %s: %s", e.Host, e.Text) }

// Ask puts a question to an endpoint of a host and returns its whole reply. ErrHostAway: nobody listens there, or no answer
// came before ctx ended. A *HostError is the host's own refusal.
func (b *Bus) Ask(ctx context.Context, host, endpoint string, question any) ([]byte, error) {
	data, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if !b.Connected() {
		return nil, fmt.Errorf("%w: not connected", ErrUnavailable)
	}
	inbox := b.nc.NewRespInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(endpointPrefix+host+"."+endpoint, inbox, data); err != nil {
		return nil, translate(err)
	}
	r := reply{host: host}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return nil, fmt.Errorf("%w: no worker listens as %s", ErrHostAway, host)
		case errors.Is(err, nats.ErrSlowConsumer):
			return nil, r.tooLarge() // more pieces than there is room for in the queue
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
			return nil, fmt.Errorf("%w: no answer from %s in time", ErrHostAway, host)
		case err != nil:
			return nil, translate(err)
		}
		if whole, err := r.add(m.Header, m.Data); err != nil {
			return nil, err
		} else if whole {
			return r.text.Bytes(), nil
		}
	}
}

// reply is what has come of a host's answer.
type reply struct {
	host   string
	text   bytes.Buffer
	pieces int
}

// add takes in the next message, and says whether it is the last.
func (r *reply) add(h nats.Header, data []byte) (whole bool, err error) {
	if text := h.Get(headerError); text != "" {
		return false, &HostError{Host: r.host, Text: text}
	}
	// Pieces without anything in them would never fill the room.
	if r.pieces++; r.text.Len()+len(data) > replyLimit || r.pieces > replyPieces {
		return false, r.tooLarge()
	}
	r.text.Write(data)
	return h.Get(headerMore) == "", nil
}

func (r *reply) tooLarge() error {
	return &HostError{Host: r.host, Text: fmt.Sprintf("its reply has more than %d bytes, or %d pieces", replyLimit, replyPieces)}
}

const (
	// answers bounds the questions that an endpoint works on at once; more wait.
	answers = 4
	// answerLimit bounds the time for one. Nobody waits for it much longer.
	answerLimit = 13 * time.Second
)

// Answer serves an endpoint of a host until ctx ends. Whoever asks after it has returned, and after what this connection
// publishes from then on, is heard. finish waits for the end of ctx and of the questions that are being worked on.
func (b *Bus) Answer(ctx context.Context, host, endpoint string, answer func(ctx context.Context, question []byte) ([]byte, error)) (finish func(), err error) {
	var working sync.WaitGroup
	free := make(chan struct{}, answers)
	sub, err := b.nc.Subscribe(endpointPrefix+host+"."+endpoint, func(m *nats.Msg) {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		working.Go(func() {
			defer func() { <-free }()
			limited, cancel := context.WithTimeout(ctx, answerLimit)
			defer cancel()
			data, err := b.survive(endpoint, func() ([]byte, error) { return answer(limited, m.Data) })
			if err := b.reply(m, data, err); err != nil {
				b.log.Warn("bus: reply", "endpoint", endpoint, "error", err)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", endpoint, translate(err))
	}
	return func() {
		<-ctx.Done()
		_ = sub.Unsubscribe() // where the connection is closed nobody is heard anyway
		working.Wait()
	}, nil
}

// survive keeps a fault in the answer to one question from ending the program, with all that it does for others.
func (b *Bus) survive(endpoint string, answer func() ([]byte, error)) (data []byte, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			b.log.Error("bus: panic", "endpoint", endpoint, "fault", fault, "stack", string(debug.Stack()))
			data, err = nil, fmt.Errorf("%s: internal error, the log of the host's worker has it", endpoint)
		}
	}()
	return answer()
}

func (b *Bus) reply(question *nats.Msg, data []byte, failure error) error {
	if failure != nil {
		m := nats.NewMsg(question.Reply)
		m.Header.Set(headerError, oneLine(failure.Error()))
		return b.nc.PublishMsg(m)
	}
	for {
		m := nats.NewMsg(question.Reply)
		m.Data = data[:min(len(data), replyChunk)]
		data = data[len(m.Data):]
		if len(data) > 0 {
			m.Header.Set(headerMore, "1")
		}
		if err := b.nc.PublishMsg(m); err != nil {
			return err
		}
		if len(data) == 0 {
			return nil
		}
	}
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	return string(bytes.Join(bytes.Fields([]byte(s)), []byte(" ")))
}
