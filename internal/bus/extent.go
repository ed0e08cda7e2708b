package bus

import (
	"context"
	"time"
)

// extentPause is between two looks whether what is still to be read is there.
const extentPause = 200 * time.Millisecond

// extent tells when all is read that a stream had at the start. How much a consumer has left to give does not: the copy of the stream
// that it reads may be behind.
type extent struct {
	// last is the newest message of those that there were to read, and reached the newest that was; 0 for none.
	last, reached uint64
	caughtUp      func()
	// all is closed when caughtUp was called.
	all chan struct{}
}

func (x *extent) reach(seq uint64) {
	x.reached = seq
	select {
	case <-x.all:
	default:
		if x.reached >= x.last {
			close(x.all)
			x.caughtUp()
		}
	}
}

// shrink takes in which message is the newest now: the one before may have gone before it was read.
func (x *extent) shrink(last uint64) {
	x.last = min(x.last, last)
	x.reach(x.reached)
}

// awaits returns after a moment, and says whether there is still something to be read.
func (x *extent) awaits(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-x.all:
		return false
	case <-time.After(extentPause):
		return true
	}
}
