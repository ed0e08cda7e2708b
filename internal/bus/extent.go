package bus

import (
	"context"
	"sync/atomic"
	"time"
)

// extentPause is between two looks whether what is still to be read is there.
const extentPause = 200 * time.Millisecond

// extent tells when all is read that a stream had when its consumer was made. How much a consumer has left to give does not: the copy of
// the stream that it reads may be behind.
type extent struct {
	// last is the newest message of those that there were to read, and reached the newest that was; 0 for none.
	last     atomic.Uint64
	reached  uint64
	caughtUp func()
	// all is closed when caughtUp was called.
	all chan struct{}
}

func (x *extent) reach(seq uint64) {
	x.reached = seq
	select {
	case <-x.all:
	default:
		if x.reached >= x.last.Load() {
			close(x.all)
			x.caughtUp()
		}
	}
}

// grow takes in which message is the newest of those that are read from the beginning, once more.
func (x *extent) grow(last uint64) { x.last.Store(max(x.last.Load(), last)) }

// shrink takes in which message is the newest, where expected was to be read: that one may have gone before it was.
func (x *extent) shrink(expected, last uint64) {
	if x.last.CompareAndSwap(expected, min(expected, last)) { // else it has grown since that was asked
		x.reach(x.reached)
	}
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
