package bus

import (
	"context"
	"sync/atomic"
	"time"
)

// level is up to when all is known that a stream had, of who has once read all of it and goes on. Whether the bus answers does not say so: the
// client makes its consumer anew up to ten seconds after a bus is back that was silent for long.
type level struct {
	// reached is the newest message that was read at the look before, and gone a sequence up to which nothing was left to read at one.
	reached, gone uint64
	// at is when that was the last time, nil as long as it does not count.
	at atomic.Pointer[time.Time]
}

// measure takes in that it was looked where the stream ends, or that this failed. Who reads, however slowly, does not wait for anything.
func (b *Bus) measure(ctx context.Context, w *watched, x *extent, subjects string, failed error) {
	if !x.isRead() {
		return
	}
	l, reads := &w.level, true
	end, _ := w.known()
	if x.reading.TryLock() {
		reads = x.reached != l.reached
		l.reached = x.reached
		x.reading.Unlock()
	}
	if failed != nil {
		return
	}
	if !reads && max(l.reached, l.gone) < end.Seq {
		// What is at the end may have been let go, or be under a subject that is not followed.
		if last, err := b.lastSeq(ctx, w.stream, subjects); err != nil || last > l.reached {
			return
		}
		l.gone = end.Seq
	}
	now := time.Now()
	l.at.Store(&now)
	b.setKnown()
}

// setKnown takes in that a level has changed.
func (b *Bus) setKnown() {
	b.watchingMu.Lock()
	defer b.watchingMu.Unlock()
	oldest := func(but string) (oldest *time.Time) {
		for w := range b.watching {
			if at := w.level.at.Load(); at != nil && w.stream != but && (oldest == nil || at.Before(*oldest)) {
				oldest = at
			}
		}
		return oldest
	}
	b.known.Store(oldest(""))
	b.knownJobs.Store(oldest(logsStream))
}

// Silence is how long the bus has not told any more, at this moment, what it has to who follows it, nor answered what it is asked every few
// seconds; 0 while it does.
func (b *Bus) Silence(now time.Time) time.Duration { return b.silence(now, b.known.Load()) }

// SilenceOfJobs is Silence without the logs: jobs can be made and canceled while their stream alone has no leader.
func (b *Bus) SilenceOfJobs(now time.Time) time.Duration { return b.silence(now, b.knownJobs.Load()) }

func (b *Bus) silence(now time.Time, known *time.Time) time.Duration {
	last := b.answered.Load()
	if last == nil {
		return 0
	}
	if known != nil && known.Before(*last) {
		last = known
	}
	// Two looks may miss, one after the other, without anything being wrong.
	if since := max(now.Sub(*last), 1); !b.Connected() || since > 3*lookEvery {
		return since
	}
	return 0
}
