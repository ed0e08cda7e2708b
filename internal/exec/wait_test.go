package exec

import (
	"context"
	"testing"
)

// An end that is known counts, whatever has become of the context meanwhile.
func TestWaitAfterTheEndAndTheDeadline(t *testing.T) {
	t.Parallel()
	p := newProcess(t.TempDir(), identity{})
	close(p.done)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if _, err := p.Wait(over); err != nil {
			t.Fatal(err)
		}
	}
}
