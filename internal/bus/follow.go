package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lookEvery is how often a stream that is followed is looked at, whether it is still the one that was read.
const lookEvery = 2 * time.Second

// stillPatience is how many looks may find that nothing was read since the one before, the first time.
const stillPatience = 5

// closePatience is how long a consumer may take to be closed.
const closePatience = 2 * time.Second

// Mark is a place in a stream: up to where it was read, say. It tells the stream from another one of its name, and from itself
// after it has lost its newest messages, also where their sequences have been used again.
type Mark struct {
	// Made is when the stream was made, or when it was last said to have lost its newest messages: see TellLoss.
	Made time.Time `json:"made"`
	// Seq is the sequence of a message.
	Seq uint64 `json:"seq"`
	// Stored is when the stream stored it: two messages that got one sequence have different ones. It is the zero time where that
	// is not known.
	Stored time.Time `json:"stored,omitzero"`
}

// watched is a stream and the newest that is known of it.
type watched struct {
	stream string

	mu   sync.Mutex
	mark Mark
	// own are the newest messages that this program has stored, which were not looked at yet.
	own []own

	level level
}

// watch has w learn of what this program stores in its stream, until unwatch.
func (b *Bus) watch(stream string) *watched {
	w := &watched{stream: stream}
	b.watchingMu.Lock()
	defer b.watchingMu.Unlock()
	b.watching[w] = struct{}{}
	return w
}

func (b *Bus) unwatch(watches ...*watched) {
	defer b.setKnown()
	b.watchingMu.Lock()
	defer b.watchingMu.Unlock()
	for _, w := range watches {
		delete(b.watching, w)
	}
}

func (w *watched) known() (Mark, []own) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mark, slices.Clone(w.own)
}

func (w *watched) learn(m Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Seq > w.mark.Seq {
		w.mark = m
	}
}

// follow reads a stream with one ordered consumer until ctx ends: from behind after on where the stream still has all up to there,
// else as c says. caughtUp is called once, when everything that was there at the start has been handled, unless this ends before. ErrLost:
// the stream has not all any more that was read of it.
func (b *Bus) follow(ctx context.Context, stream string, after Mark, c jetstream.OrderedConsumerConfig, handle func(jetstream.Msg, Mark), caughtUp func()) error {
	var consumer jetstream.Consumer
	x := &extent{caughtUp: caughtUp, all: make(chan struct{})}
	w := b.watch(stream)
	defer b.unwatch(w)
	// expect asks up to where there is to read, and whether the stream is still the one that is read: one that was made anew has nothing.
	expect := func(ctx context.Context) error {
		last, err := b.lastSeq(ctx, stream, c.FilterSubjects[0])
		if err != nil {
			return err
		}
		x.expect(last)
		return b.look(ctx, w)
	}
	err := b.Retry(ctx, "consumer of "+stream, func(ctx context.Context) (err error) {
		if err = b.begin(ctx, w); err != nil {
			return err
		}
		from := c
		x.reached = 0
		switch err = b.goesOn(ctx, stream, after, w.mark); {
		case err == nil && after.Seq > 0:
			from.DeliverPolicy, from.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after.Seq+1
			x.reached = after.Seq
		case err != nil && !errors.Is(err, ErrLost):
			return err
		}
		if consumer, err = b.js.OrderedConsumer(ctx, stream, from); err != nil {
			return translate(err)
		}
		// Not before there is a consumer: of a subject it gives only the newest that there was then, and nobody is to take the others for all.
		return expect(ctx)
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	x.reach(x.reached)
	following, end := context.WithCancelCause(ctx)
	defer end(nil)
	made := w.mark.Made
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		x.reading.Lock()
		defer x.reading.Unlock()
		meta, err := m.Metadata()
		if err != nil {
			b.log.Error("bus: message without metadata", "subject", m.Subject(), "error", err)
			return
		}
		// The client, or the server, may have made the consumer anew, at a sequence: the message that had it may be another one now. Or at
		// the beginning, where nothing was read yet.
		if meta.Sequence.Consumer == 1 {
			if err := b.Retry(following, "stream "+stream, expect); err != nil {
				end(err)
			}
		}
		if following.Err() != nil {
			return
		}
		at := Mark{Made: made, Seq: meta.Sequence.Stream, Stored: meta.Timestamp}
		handle(m, at)
		if following.Err() != nil {
			return // it took so long that the stream may have been lost since
		}
		w.learn(at)
		x.reach(at.Seq)
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		b.log.Warn("bus: following "+stream, "error", err)
	}))
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, translate(err))
	}
	var looking sync.WaitGroup
	looking.Go(func() {
		patience, at, still := stillPatience, uint64(0), 0
		for x.awaits(following) {
			expected := x.expected.Load()
			last, err := b.lastSeq(following, stream, c.FilterSubjects[0])
			if err == nil {
				// Of a stream that was made anew, or has lost its end, there is nothing more to read either.
				err = b.look(following, w)
			}
			if errors.Is(err, ErrLost) {
				end(err)
			}
			if err != nil || !x.reading.TryLock() { // something is being read, for however long
				continue
			}
			whole := x.shrink(expected, last)
			if still++; x.reached != at {
				at, still = x.reached, 0
			}
			x.reading.Unlock()
			if whole || still == patience {
				b.takeAway(following, stream, consumer.CachedInfo().Name)
				patience, still = 2*patience, 0
			}
		}
	})
	err = b.awaitLoss(following, lookEvery, func(ctx context.Context) error {
		err := b.look(ctx, w)
		b.measure(ctx, w, x, c.FilterSubjects[0], err)
		return err
	})
	end(err)
	// Of a bus that is silent the client tries to make its consumer anew, with pauses, and until the next try it does not let go of it.
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		consuming.Stop()
		looking.Wait()
		select {
		case <-consuming.Closed():
		case <-time.After(closePatience): // one that was just being made anew is never said to be closed
		}
	}()
	select {
	case <-closed:
	case <-time.After(closePatience):
	}
	return err
}

// takeAway has the client make its consumer anew: the server waits for seconds with each message that it was to give and that has gone since.
func (b *Bus) takeAway(ctx context.Context, stream, name string) {
	_ = b.Retry(ctx, "consumer of "+stream, func(ctx context.Context) error {
		return translate(b.js.DeleteConsumer(ctx, stream, name)) // one that is not there was made anew meanwhile
	})
}

// mark looks at the end of a stream. ErrLost: there is none.
func (b *Bus) mark(ctx context.Context, stream string) (Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout) // also of who has more time: an answer may be lost with a connection
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Mark{}, fmt.Errorf("%w: there is no stream %s", ErrLost, stream)
	}
	if err != nil {
		return Mark{}, translate(err)
	}
	info := s.CachedInfo()
	now := time.Now()
	b.answered.Store(&now)
	if stream == jobsStream {
		b.clock.Store(&clock{shows: info.TimeStamp, at: now})
		b.crowded.Store(info.Config.MaxBytes > 0 && info.State.Bytes > uint64(info.Config.MaxBytes)/100*birthShare)
	}
	return Mark{Made: madeAt(info), Seq: info.State.LastSeq, Stored: info.State.LastTime}, nil
}

// lossKey is where a stream has, in its metadata, when it was last said to have lost its newest messages.
const lossKey = "netlab-lost"

func madeAt(info *jetstream.StreamInfo) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, info.Config.Metadata[lossKey]); err == nil && at.After(info.Created) {
		return at
	}
	return info.Created
}

// TellLoss has the stream of jobs be to everybody as one that was made just now, unless it has become a later one than that which was known: it
// has lost its newest messages, and uses their sequences again. Nobody who was not there at the loss could know otherwise.
func (b *Bus) TellLoss(ctx context.Context, known time.Time) error {
	stream, err := b.js.Stream(ctx, jobsStream)
	if err != nil {
		return translate(err)
	}
	info := stream.CachedInfo()
	if madeAt(info).After(known) {
		return nil
	}
	now := time.Now().UTC()
	if !now.After(known) {
		now = known.UTC().Add(1)
	}
	if info.Config.Metadata == nil {
		info.Config.Metadata = map[string]string{}
	}
	info.Config.Metadata[lossKey] = now.Format(time.RFC3339Nano)
	_, err = b.js.UpdateStream(ctx, info.Config)
	return translate(err)
}

// own is a message that this program has stored in a stream, with its ce-id.
type own struct {
	seq uint64
	id  string
	// connection counts the connections to the bus: a server may have lost its newest messages between two.
	connection uint64
}

// stored takes in a message that this program has stored.
func (b *Bus) stored(stream string, seq uint64, id string) {
	mine := own{seq, id, b.nc.Stats().Reconnects}
	b.watchingMu.Lock()
	defer b.watchingMu.Unlock()
	for w := range b.watching {
		if w.stream == stream {
			w.store(mine)
		}
	}
}

// store keeps the newest message of each connection until it was looked at.
func (w *watched) store(mine own) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch last := len(w.own) - 1; {
	case last < 0 || w.own[last].connection != mine.connection:
		w.own = append(w.own, mine)
	case w.own[last].seq < mine.seq:
		w.own[last] = mine
	}
}

// lookedAt ends the interest in messages that are there.
func (w *watched) lookedAt(list []own) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = slices.DeleteFunc(w.own, func(o own) bool { return slices.Contains(list, o) })
}

// begin looks at the end of a stream of which nothing is known, or not any more.
func (b *Bus) begin(ctx context.Context, w *watched) error {
	_, mine := w.known()
	w.lookedAt(mine)
	mark, err := b.mark(ctx, w.stream)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mark = mark
	return err
}

// look returns ErrLost when the stream has not all any more that is known of it: an ordered consumer would wait at an end that is
// no more, or go on there and miss what came under the sequences before.
func (b *Bus) look(ctx context.Context, w *watched) error {
	had, mine := w.known()
	now, err := b.mark(ctx, w.stream)
	if err == nil {
		err = b.goesOn(ctx, w.stream, had, now)
	}
	for i := 0; err == nil && i < len(mine); i++ {
		if mine[i].seq > had.Seq {
			err = b.hasOwn(ctx, w.stream, &mine[i])
		}
	}
	if err != nil {
		return err
	}
	w.lookedAt(mine)
	w.learn(now)
	return nil
}

// goesOn returns ErrLost when a stream that ends at now is not the one that had had, with all up to there.
func (b *Bus) goesOn(ctx context.Context, stream string, had, now Mark) error {
	switch {
	case had.Made.IsZero(): // nothing is known of it
		return nil
	case now.Made.Before(had.Made):
		return fmt.Errorf("%w: the stream %s is an older one, which was put back", ErrLostNewest, stream)
	case !now.Made.Equal(had.Made):
		return fmt.Errorf("%w: the stream %s was made anew", ErrLost, stream)
	case now.Seq < had.Seq:
		// Of a cluster without a leader it is a copy that says where the stream ends, and that may be behind. Only a leader gives a message.
		m, err := b.messageFrom(ctx, stream, map[string]any{"seq": had.Seq})
		if err == nil && (had.Stored.IsZero() || m.Time.Equal(had.Stored)) {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return fmt.Errorf("%w: the stream %s ends at %d, and had %d", ErrLostNewest, stream, now.Seq, had.Seq)
	case had.Seq == 0, had.Stored.IsZero(), now.Seq == had.Seq && now.Stored.Equal(had.Stored):
		return nil
	}
	m, err := b.messageFrom(ctx, stream, map[string]any{"seq": had.Seq})
	switch {
	case err == nil && m.Time.Equal(had.Stored):
		return nil
	case err == nil:
		return fmt.Errorf("%w: the stream %s has another message %d than it had", ErrLostNewest, stream, had.Seq)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	// It has gone: it was let go, or another one has come under its subject. What came since then is behind it all the same.
	m, err = b.messageFrom(ctx, stream, map[string]any{"start_time": had.Stored, "next_by_subj": everySubject})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil && m.Seq < had.Seq:
		return fmt.Errorf("%w: the stream %s had %d, and has got %d since", ErrLostNewest, stream, had.Seq, m.Seq)
	}
	return err
}

// hasOwn returns ErrLost when the stream has not the message any more that was stored a moment ago: nothing is let go so soon.
func (b *Bus) hasOwn(ctx context.Context, stream string, mine *own) error {
	m, err := b.messageFrom(ctx, stream, map[string]any{"seq": mine.seq})
	if err == nil {
		var h nats.Header
		if h, err = nats.DecodeHeadersMsg(m.Header); err == nil && h.Get(headerEventID) == mine.id {
			return nil
		}
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: the stream %s has not its message %d any more", ErrLostNewest, stream, mine.seq)
	}
	return err
}

// messageFrom finds the message, or the first or last of those, that is asked for. It asks the stream's leader: a copy may be behind.
// ErrNotFound: there is none.
func (b *Bus) messageFrom(ctx context.Context, stream string, question map[string]any) (*storedMessage, error) {
	text, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, b.apiPrefix+".STREAM.MSG.GET."+stream, text)
	if err != nil {
		return nil, translate(err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message storedMessage       `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("message of %s: %w", stream, err)
	}
	if answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return nil, fmt.Errorf("%w: there is no stream %s", ErrUnavailable, stream) // until an API has made it again
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("message of %s: %w", stream, translate(answer.Error))
	}
	return &answer.Message, nil
}

// newest reads the last message under subject, which decides what is to follow it: it asks the stream's leader. ErrNotFound: none.
func (b *Bus) newest(ctx context.Context, stream, subject string) (*storedMessage, nats.Header, error) {
	m, err := b.messageFrom(ctx, stream, map[string]any{"last_by_subj": subject})
	if err != nil {
		return nil, nil, err
	}
	if len(m.Header) == 0 {
		return m, nats.Header{}, nil
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil {
		return nil, nil, fmt.Errorf("message %d of %s: its headers: %w", m.Seq, stream, err)
	}
	return m, h, nil
}

// lastSeq is the sequence of the newest message under the subjects, 0 where there is none.
func (b *Bus) lastSeq(ctx context.Context, stream, subjects string) (uint64, error) {
	if subjects == everySubject {
		// Asked for every subject the server looks at the end of the stream alone, where the message may have been let go.
		subjects = public + ">"
	}
	m, err := b.messageFrom(ctx, stream, map[string]any{"last_by_subj": subjects})
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Seq, nil
}

// storedMessage is what is read of a message that the server tells of.
type storedMessage struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Header []byte    `json:"hdrs"`
	Data   []byte    `json:"data"`
}

// awaitLoss looks every so often, and after each reconnect. It returns the cause of ctx's end, or the ErrLost of a look.
func (b *Bus) awaitLoss(ctx context.Context, every time.Duration, look func(ctx context.Context) error) error {
	connected := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(connected)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-connected:
		case <-tick.C:
		}
		if err := look(ctx); errors.Is(err, ErrLost) { // one that is away may be as it was
			return err
		}
	}
}

// hostLookEvery is how often a host looks at the streams, of which there may be many more than of APIs.
const hostLookEvery = 5 * time.Second

// FollowLosses calls restore at the start, and whenever the stream of jobs or that of logs has lost something, until ctx ends. The
// context of a call ends when the next loss is noticed.
func (b *Bus) FollowLosses(ctx context.Context, restore func(ctx context.Context)) error {
	streams := []*watched{b.watch(jobsStream), b.watch(logsStream)}
	defer b.unwatch(streams...)
	for {
		for _, w := range streams {
			// An API makes them again.
			err := b.retry(ctx, "stream "+w.stream, func(ctx context.Context) error { return b.begin(ctx, w) }, ErrUnavailable, ErrLost)
			if err != nil {
				return err
			}
		}
		restoring, enough := context.WithCancel(ctx)
		var work sync.WaitGroup
		work.Go(func() { restore(restoring) })
		err := b.awaitLoss(ctx, hostLookEvery, func(ctx context.Context) error {
			return errors.Join(b.look(ctx, streams[0]), b.look(ctx, streams[1]))
		})
		enough()
		work.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Warn("bus", "error", err)
	}
}
