package bus

import "testing"

// What was asked of the end before more is to be read says nothing of that.
func TestAnExtentThatGrowsWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	whole := false
	x := &extent{all: make(chan struct{}), caughtUp: func() { whole = true }}
	x.grow(5)
	x.reach(3)
	x.grow(4)
	expected := x.last.Load()
	if expected != 5 {
		t.Errorf("up to %d, want 5", expected)
	}
	x.grow(9)
	x.shrink(expected, 3)
	if x.last.Load() != 9 || whole {
		t.Errorf("up to %d, all is read: %t", x.last.Load(), whole)
	}
	x.shrink(9, 3)
	if !whole {
		t.Error("what has gone is awaited")
	}
}
