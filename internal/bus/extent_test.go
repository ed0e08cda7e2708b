package bus

import "testing"

// What was asked of the end before more is to be read says nothing of that.
func TestAnExtentThatIsAnotherOneWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	for _, more := range []uint64{9, 4} { // newer than what was to be read, or than what is left of it
		x := &extent{all: make(chan struct{}), caughtUp: func() {}}
		x.expect(5)
		x.reach(2)
		expected := x.expected.Load()
		x.expect(more)
		whole := x.shrink(expected, 3)
		x.reach(3)
		select {
		case <-x.all:
			whole = true
		default:
		}
		if whole {
			t.Errorf("%d is not read, all is said to be", more)
		}
		if !x.shrink(x.expected.Load(), 3) {
			t.Error("what has gone is awaited")
		}
		if x.shrink(x.expected.Load(), 3) {
			t.Error("all is read once more")
		}
	}
}
