package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnavailable is a bus that did not answer: disconnected, no leader, no JetStream, a bucket that is yet to be made. Nothing is known of what was asked.
	ErrUnavailable = errors.New("the bus is unavailable")
	// ErrConflict is a compare-and-set that found another message than the one it expected.
	ErrConflict = errors.New("somebody else was first")
	// ErrEnded is a job that has ended, of which something was asked that only one under way can do.
	ErrEnded = errors.New("the job has ended")
	// ErrNotFound is a subject, key or object that the bus does not hold.
	ErrNotFound = errors.New("not found on the bus")
	// ErrHostAway is a host whose worker does not answer.
	ErrHostAway = errors.New("the host does not answer")
	// ErrLost is a stream that has not all any more that was read of it: it was made anew, or its server has lost the newest.
	ErrLost = errors.New("the bus has lost messages")
	// ErrLostNewest is the second of these, or an older stream that was put back. It is an ErrLost.
	ErrLostNewest = fmt.Errorf("%w, the newest ones", ErrLost)
	// ErrFull is a stream at its limit, or that of its account. It refuses what is new and keeps what it has.
	ErrFull = errors.New("the stream is full")
	// ErrTooLarge is a message over MaxMessage.
	ErrTooLarge = errors.New("the message is too large")
)

// RefusedError is a stream that exists with settings which cannot be changed without losing what it holds.
type RefusedError struct {
	Stream string
	// Differs names each setting, what it is and what it should be.
	Differs []string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("stream %s was made differently and is left alone: %s; restore its settings, or move it away if its messages are not needed",
		e.Stream, strings.Join(e.Differs, "; "))
}

// Codes of the server that nats.go does not name.
const (
	codeWrongLastSequence         = 10071 // R1, and R3 in most cases
	codeWrongLastSequenceConstant = 10164 // R3, without the sequence in its text
	codeStreamStoreFailed         = 10077 // "maximum bytes exceeded", "maximum messages exceeded"
	codeStorageExceeded           = 10047
	codeAccountExceeded           = 10002 // what all streams of the account may have
	codeNoMessage                 = 10037
	codeNotEnabledForAccount      = 10039
	codeNotEnabled                = 10076
	codeReplicasNotSupported      = 10074
	codeSubjectsOverlap           = 10065
)

// translate makes one of this package's errors of what nats.go returned.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var (
		api    *jetstream.APIError
		socket net.Error
	)
	switch {
	case errors.As(err, &api):
		switch api.ErrorCode {
		case codeWrongLastSequence, codeWrongLastSequenceConstant:
			return fmt.Errorf("%w (%s)", ErrConflict, api.Description)
		case codeStreamStoreFailed, codeStorageExceeded, codeAccountExceeded:
			return fmt.Errorf("%w: %s", ErrFull, api.Description)
		case codeNoMessage:
			return ErrNotFound
		case codeNotEnabled, codeNotEnabledForAccount:
			return fmt.Errorf("the server of NETLAB_BUS_URL has no JetStream for this account: enable it there (%w)", err)
		case codeReplicasNotSupported:
			return fmt.Errorf("the server cannot keep NETLAB_BUS_REPLICAS copies: set 1, or use a cluster (%w)", err)
		}
		// No leader, a server that starts: it passes.
		if api.Code == http.StatusServiceUnavailable {
			return fmt.Errorf("%w: %s", ErrUnavailable, api.Description)
		}
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrMsgNotFound):
		return ErrNotFound
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("%w: no answer in time", ErrUnavailable)
	case errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: JetStream does not answer", ErrUnavailable)
	case errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting),
		errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrDisconnected),
		errors.Is(err, nats.ErrNoServers),
		// As they come of the socket or of the pipe within this process, where a write is too large to wait.
		errors.As(err, &socket), errors.Is(err, io.ErrClosedPipe):
		return fmt.Errorf("%w: not connected", ErrUnavailable)
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("%w: the bucket is not there", ErrUnavailable) // it is made again
	}
	return err
}
