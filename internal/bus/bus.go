// Package bus is the only one that knows NATS: subjects, streams, checks, leases and requests to hosts.
//
// Every publish of a job's life is a compare-and-set on its subject. That, and not an acknowledgement, is the fence that
// keeps two workers from running one job and a retry from doubling a byte of a log.
package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxMessage is the largest message of ours, headers included, in bytes. The server's own default limit is twice that.
const MaxMessage = 512 << 10

// answerTimeout bounds one question to the bus. A lost answer is asked for again by who can repeat the question.
const answerTimeout = 5 * time.Second

// Config says how to reach the bus.
type Config struct {
	// Server is the one in this process (package embedded); nil: URL is used.
	Server nats.InProcessConnProvider
	// Trouble is why that server can store nothing and what to do, empty where all is well. nil: nobody knows.
	Trouble func() string
	// URL of the bus, several separated by commas.
	URL string
	// Creds is a file with a NATS credential (.creds) or a bare nkey seed. Empty: none.
	Creds string
	// CA is a PEM file with the authority of the server's certificate. Empty: the system's.
	CA string
	// Name is shown in the server's list of connections.
	Name string
	// Source names this program in every event that it publishes (CloudEvents' source).
	Source string
	// APIPrefix is the JetStream API's subject prefix. Empty: $JS.API.
	APIPrefix string
	// InboxPrefix is where answers arrive. Empty: _INBOX.
	InboxPrefix string
	// Log receives what happens to the connection.
	Log *slog.Logger
}

// Bus is a connection that reconnects for ever. Its methods are safe for concurrent use.
type Bus struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	apiPrefix string
	source    string
	trouble   func() string
	// connected says whether the connection stands. The client would say so too, but not while it writes to a server that does not read, or
	// waits for one that says nothing.
	connected atomic.Bool
	// answered is when a stream was last looked at.
	answered atomic.Pointer[time.Time]
	// known is up to when all is known that the streams had which are followed, nil where none is; knownJobs is that without the logs.
	known, knownJobs atomic.Pointer[time.Time]
	// clock is that of the bus, nil before the first look at the stream of jobs.
	clock atomic.Pointer[clock]
	// crowded says, by the last look, that the stream of jobs has room left only for the states of those that it has.
	crowded atomic.Bool
	// behindPatience is the constant, less in tests.
	behindPatience time.Duration
	// limits are those of the streams that this program makes, nil until it has.
	limits atomic.Pointer[Limits]

	// watching are the streams that are followed, each as often as it is.
	watchingMu sync.Mutex
	watching   map[*watched]struct{}

	given given

	placesMu sync.Mutex
	placesKV jetstream.KeyValue
	log      *slog.Logger
}

// Connect returns at once: a bus that is away is tried again for ever. Only a setting that cannot work is an error.
func Connect(c Config) (*Bus, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.APIPrefix == "" {
		c.APIPrefix = "$JS.API"
	}
	b := &Bus{apiPrefix: c.APIPrefix, source: c.Source, trouble: c.Trouble, watching: map[*watched]struct{}{}, behindPatience: behindPatience, log: c.Log}
	// said is that the bus cannot be reached: once, not with every try.
	var said atomic.Bool
	// heard is closed when the handlers know of the first connection.
	heard := make(chan struct{})
	hear := sync.OnceFunc(func() { close(heard) })
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.RetryOnFailedConnect(true),
		// A publish while disconnected fails at once. The default would take 8 MB silently and lose them in a crash.
		nats.ReconnectBufSize(-1),
		// Who asks a host waits for the pieces of its answer in a queue that is made for the largest. By default it is made for
		// 65,536 messages, half a megabyte a question.
		nats.SyncQueueLen(replyPieces),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// Nothing else is sent meanwhile, and by default that is a minute.
		nats.FlusherTimeout(answerTimeout),
		// By default the second refusal of the credentials ends the connection for good. They may be put right at the server.
		nats.IgnoreAuthErrorAbort(),
		nats.ClosedHandler(func(nc *nats.Conn) {
			b.connected.Store(false)
			if err := nc.LastError(); err != nil {
				c.Log.Error("bus: connection closed", "error", err)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.connected.Store(false)
			if err != nil {
				c.Log.Warn("bus: disconnected", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) {
			if !said.Swap(true) {
				c.Log.Warn("bus: cannot connect, trying for ever", "servers", redacted(nc.Servers()), "error", err)
			}
		}),
		nats.ConnectHandler(func(*nats.Conn) {
			b.connected.Store(true)
			hear()
			said.Store(false)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.connected.Store(true)
			said.Store(false)
			c.Log.Info("bus: connected again", "server", nc.ConnectedUrlRedacted())
		}),
		// A denied publish looks like a timeout to its caller. This is the only place that learns the reason.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.Log.Error("bus", "error", err) }),
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	url := c.URL
	switch {
	case c.Server != nil:
		opts = append(opts, nats.InProcessServer(c.Server))
		url = ""
	case c.CA != "":
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Creds != "" {
		creds, err := credentials(c.Creds)
		if err != nil {
			return nil, err
		}
		opts = append(opts, creds)
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if nc.IsConnected() {
		<-heard // the client says it to its handlers a moment later
	}
	js, err := jetstream.NewWithAPIPrefix(nc, c.APIPrefix, jetstream.WithDefaultTimeout(answerTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	b.nc, b.js = nc, js
	return b, nil
}

func credentials(file string) (nats.Option, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("NETLAB_BUS_CREDS: %w", err)
	}
	if bytes.Contains(content, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(file), nil
	}
	key, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		return nil, fmt.Errorf("NETLAB_BUS_CREDS %s: neither a .creds file nor an nkey seed: %w", file, err)
	}
	return key, nil
}

// Close ends the connection. What was not acknowledged is not sent.
func (b *Bus) Close() {
	b.nc.Close()
	b.connected.Store(false) // the handler says so too, a moment later
}

// Connected says whether the connection stands just now. It waits for nothing.
func (b *Bus) Connected() bool { return b.connected.Load() }

// Server names the server of the connection, for logs; empty while there is none.
func (b *Bus) Server() string {
	if b.nc.Opts.InProcessServer != nil {
		return "in this process"
	}
	return b.nc.ConnectedUrlRedacted()
}

// Trouble is why the embedded server can store nothing and what to do, empty where all is well or the server is another one.
func (b *Bus) Trouble() string {
	if b.trouble == nil {
		return ""
	}
	return b.trouble()
}

// retryDelays are the pauses between tries of what must succeed in the end; the last one repeats.
var retryDelays = []time.Duration{50 * time.Millisecond, 250 * time.Millisecond, time.Second, 2 * time.Second} //nolint:gochecknoglobals // a table that is never written

// warnEvery is after how many tries it is said again that something does not succeed: about a minute.
const warnEvery = 30

// Retry calls f until it succeeds, fails with something other than ErrUnavailable or ErrFull, or ctx ends.
func (b *Bus) Retry(ctx context.Context, what string, f func(context.Context) error) error {
	return b.retry(ctx, what, f, ErrUnavailable, ErrFull)
}

// retry is Retry of what fails with one of these errors, or with the end of the time that it has for one try.
func (b *Bus) retry(ctx context.Context, what string, f func(context.Context) error, passing ...error) error {
	passes := func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
	}
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, answerTimeout)
		err := f(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		if try%warnEvery == 1 {
			b.log.Warn("bus: trying again", "what", what, "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		case <-time.After(retryDelays[min(try, len(retryDelays)-1)]):
		}
	}
}

// behindPatience is how long a copy of a stream may stay behind before it is taken for the stream as it is now.
const behindPatience = 5 * time.Second

// insist publishes m over the message with the sequence last on its own subject, 0 for none, and tries again what fails with one of
// the errors passing. ErrConflict: another message is there, or the stream has lost the one that was expected.
func (b *Bus) insist(ctx context.Context, what, stream string, m *nats.Msg, stored string, last uint64, passing ...error) (seq uint64, err error) {
	var behind time.Time // since when
	err = b.retry(ctx, what, func(ctx context.Context) error {
		seq, err = b.commit(ctx, stream, m, stored, "", last)
		switch {
		case !errors.Is(err, errBehind):
			behind = time.Time{}
		case behind.IsZero():
			behind = time.Now()
		case time.Since(behind) > b.behindPatience:
			return fmt.Errorf("%w: %w", ErrConflict, errBehind)
		}
		return err
	}, passing...)
	return seq, err
}

// commit publishes m if the last message of subject (a stored subject, wildcards allowed; empty: stored) has the sequence last,
// 0 for none. It returns the sequence of m. A lost answer is no doubt: on a conflict the last message of stored is read, under
// which m would be found, and if it is m itself, an earlier try had arrived.
func (b *Bus) commit(ctx context.Context, stream string, m *nats.Msg, stored, subject string, last uint64) (uint64, error) {
	if !b.Connected() {
		return 0, fmt.Errorf("%w: not connected", ErrUnavailable)
	}
	if trouble := b.Trouble(); trouble != "" {
		return 0, fmt.Errorf("%w: %s", ErrUnavailable, trouble) // the server would not answer
	}
	if size := m.Size(); size > MaxMessage {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxMessage)
	}
	check := jetstream.WithExpectLastSequencePerSubject(last)
	if subject != "" {
		check = jetstream.WithExpectLastSequenceForSubject(last, subject)
	}
	ack, err := b.js.PublishMsg(ctx, m, check)
	if err == nil {
		b.stored(stream, ack.Sequence, m.Header.Get(headerEventID))
		return ack.Sequence, nil
	}
	err = translate(err)
	if !errors.Is(err, ErrConflict) {
		return 0, err
	}
	first, readErr := b.overtaker(ctx, stream, stored, last)
	switch {
	case readErr != nil:
		return 0, readErr
	case first != nil && first.Header.Get(headerEventID) == m.Header.Get(headerEventID):
		return sequenceOf(first), nil
	}
	return 0, err
}

const (
	// copyPatience is how long a copy of a stream may be behind the one that checks.
	copyPatience = time.Second
	// copyPause is between two looks at it.
	copyPause = 20 * time.Millisecond
)

// errBehind is a conflict of which it is not known yet with what.
var errBehind = errors.New("the copy that answers is behind")

// overtaker reads the message that is there in place of the expected one. In a cluster the copy that answers may not have it
// yet, and what it has instead proves nothing: then it is ErrUnavailable. nil: the expected one is there no more.
func (b *Bus) overtaker(ctx context.Context, stream, subject string, expected uint64) (*nats.Msg, error) {
	for end := time.Now().Add(copyPatience); ; {
		m, err := b.lastMessage(ctx, stream, subject)
		gone := errors.Is(err, ErrNotFound)
		switch {
		case err != nil && !gone:
			return nil, err
		case !gone && sequenceOf(m) > expected:
			return m, nil
		case time.Now().Before(end):
		case gone && expected > 0:
			return nil, nil //nolint:nilnil // as documented
		default:
			return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, stream, errBehind)
		}
		select {
		case <-ctx.Done():
			return nil, translate(ctx.Err())
		case <-time.After(copyPause):
		}
	}
}

// written reads what is written under subject once. A copy of the stream that has it says the same as the leader; one that has it not may be
// behind, and the leader is asked. ErrNotFound: the stream does not have it.
func (b *Bus) written(ctx context.Context, stream, subject string) (nats.Header, []byte, error) {
	m, err := b.lastMessage(ctx, stream, subject)
	if err == nil {
		return m.Header, m.Data, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, nil, err
	}
	led, h, err := b.newest(ctx, stream, subject)
	if err != nil {
		return nil, nil, err
	}
	return h, led.Data, nil
}

// lastMessage reads the last message that the stream stores under subject. Any copy of the stream answers, and it may be behind, or have
// what was let go: newest is for what decides something, written for what is there to be read.
func (b *Bus) lastMessage(ctx context.Context, stream, subject string) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, b.apiPrefix+".DIRECT.GET."+stream+"."+subject, nil)
	if err != nil {
		return nil, translate(err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return m, nil
	case "404":
		return nil, ErrNotFound
	default:
		return nil, fmt.Errorf("%w: direct get: %s %s", ErrUnavailable, status, m.Header.Get("Description"))
	}
}

// redacted lists servers without their passwords.
func redacted(servers []string) string {
	var list []string
	for _, s := range servers {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			u.User = nil
			s = u.String()
		}
		list = append(list, s)
	}
	return strings.Join(list, ",")
}
