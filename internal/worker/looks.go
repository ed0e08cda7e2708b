package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// looks are the looks at files that are under way, those that hang among them: a file server may be away for days, and what
// waits for it cannot be called back.
type looks struct {
	log   *slog.Logger
	mu    sync.Mutex
	total int
	// at counts them by the directory that was asked for: one that hangs holds up no other.
	at map[string]int
}

const (
	maxLooks = 64
	// maxLooksAt is no less than what is worked on at a time where all is well.
	maxLooksAt = 12
	// hangGrace is what a look has left after its time, to say what it has found.
	hangGrace = 500 * time.Millisecond
)

func newLooks(log *slog.Logger) *looks { return &looks{log: log, at: map[string]int{}} }

func (l *looks) begin(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == maxLooks || l.at[dir] == maxLooksAt {
		return fmt.Errorf("%d earlier looks at files there and %d in all are not answered yet: see whether the host's file systems hang", l.at[dir], l.total)
	}
	l.total++
	l.at[dir]++
	return nil
}

func (l *looks) end(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.at[dir]--; l.at[dir] == 0 {
		delete(l.at, dir)
	}
}

// looked is what f returns, or an error when ctx ends before, and f goes on alone: it is not to use what its caller changes.
func looked[T any](ctx context.Context, l *looks, dir string, f func() (T, error)) (value T, err error) {
	if err := l.begin(dir); err != nil {
		return value, err
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer l.end(dir)
		var a answer
		defer func() {
			if fault := recover(); fault != nil { // else it would end the program, with all that it does for others
				l.log.Error("panic in a look at files", "directory", dir, "fault", fault, "stack", string(debug.Stack()))
				a = answer{err: errors.New("internal error, the log of the host's worker has it")}
			}
			answers <- a
		}()
		a.value, a.err = f()
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		// A walk ends by itself then, with what it has.
		select {
		case a := <-answers:
			return a.value, a.err
		case <-time.After(hangGrace):
			return value, errors.New("the files do not answer in time")
		}
	}
}
