package retention

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus/bustest"
)

// BenchmarkLetGo lets go 1,000 of 20,000 jobs, each with four messages and a log, while others are born: how long it takes, and how
// long a birth takes at most.
func BenchmarkLetGo(b *testing.B) {
	const count, each, writers = 20_000, 1000, 32
	limits := bustest.Limits()
	limits.JobsBytes, limits.LogsBytes = 1<<30, 1<<30
	bundle := setup(b, limits)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for n := w; n < count; n += writers {
				job := bundle.born(fmt.Sprintf("j%d", n), 500)
				bundle.end(job, bundle.run(job, 500), 0)
			}
		})
	}
	writing.Wait()
	a := bundle.api()
	longest := time.Duration(0)
	for round := 0; b.Loop(); round++ {
		if a.config.Jobs = count - (round+1)*each; a.config.Jobs <= 0 {
			b.Fatal("too many rounds: use -benchtime 10x")
		}
		done := make(chan struct{})
		var births sync.WaitGroup
		births.Go(func() { longest = max(longest, bundle.longestBirth(round, done)) })
		if err := a.LetGo(b.Context()); err != nil {
			b.Fatal(err)
		}
		close(done)
		births.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*each), "µs/job")
	b.ReportMetric(float64(longest.Microseconds()), "µs/longest-birth")
}

// longestBirth gives birth to one job after the other until done.
func (b *bundle) longestBirth(round int, done <-chan struct{}) (longest time.Duration) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return longest
		default:
		}
		began := time.Now()
		b.born(fmt.Sprintf("other-%d-%d", round, n), 500)
		longest = max(longest, time.Since(began))
	}
}
