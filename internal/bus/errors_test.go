package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestErrorsOfTheClient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ err, want error }{
		{&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, ErrUnavailable},
		{&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}, ErrUnavailable},
		{&net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}, ErrUnavailable},
		{os.ErrDeadlineExceeded, ErrUnavailable}, // of the connection within this process
		{net.ErrClosed, ErrUnavailable},
		{io.ErrClosedPipe, ErrUnavailable},
		{context.DeadlineExceeded, ErrUnavailable},
		{jetstream.ErrBucketNotFound, ErrUnavailable},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, ErrUnavailable},
		{&jetstream.APIError{Code: 400, ErrorCode: 10002}, ErrFull},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077}, ErrFull},
		{&jetstream.APIError{Code: 400, ErrorCode: 10071}, ErrConflict},
		{context.Canceled, context.Canceled},
	} {
		if got := translate(fmt.Errorf("nats: %w", test.err)); !errors.Is(got, test.want) {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

// Who asks for the bucket of placements while it is lost may ask again when it was made anew.
func TestPlacementsThatAreLost(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if err := b.js.DeleteKeyValue(ctx, placesBucket); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Place(ctx, "/labs/x", "a"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	if host, _, err := b.Place(ctx, "/labs/x", "a"); err != nil || host != "a" {
		t.Errorf("again: %q %v", host, err)
	}
}
