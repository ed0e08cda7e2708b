package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// extentPause is between two looks whether what is still to be read is there.
const extentPause = 200 * time.Millisecond

// extent tells when all is read that a stream had when its consumer was made. How much a consumer has left to give does not: the copy of
// the stream that it reads may be behind.
type extent struct {
	// reading is held while something is read, or it is looked whether all is: the callbacks of two consumers may overlap.
	reading sync.Mutex
	// last is the newest message of those that there were to read, and reached the newest that was; 0 for none.
	last, reached uint64
	// expected counts how often last was taken in: the answer to a question before says nothing of what is to be read since.
	expected atomic.Uint64
	caughtUp func()
	// all is closed when caughtUp was called.
	all chan struct{}
}

func (x *extent) reach(seq uint64) {
	x.reached = seq
	if !x.isRead() && x.reached >= x.last {
		close(x.all)
		x.caughtUp()
	}
}

// isRead says whether caughtUp was called.
func (x *extent) isRead() bool {
	select {
	case <-x.all:
		return true
	default:
		return false
	}
}

// expect takes in up to which message there is to read.
func (x *extent) expect(last uint64) {
	x.last = last
	x.expected.Add(1)
}

// shrink takes in which message is the newest, where that was asked when last had been taken in so often, and says whether all is read by
// that: the one that was to be read may have gone before it was.
func (x *extent) shrink(expected, last uint64) (whole bool) {
	// What has gone stays to be read until the rest is. So it is found here that all is read, and the consumer that waits for it is taken away.
	if x.isRead() || x.expected.Load() != expected || x.reached < last {
		return false
	}
	x.last = min(x.last, last)
	x.reach(x.reached)
	return true
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
