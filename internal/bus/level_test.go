package bus

import (
	"context"
	"errors"
	"testing"
	"time"
)

// What is not read is not known, unless it is just that reading takes long, or there is nothing more to read.
func TestUpToWhenAllIsKnown(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	asking, end := context.WithCancel(ctx)
	submit(ctx, t, b, "one", "two")
	defer end()
	w := b.watch(jobsStream)
	defer b.unwatch(w)
	if err := b.begin(ctx, w); err != nil {
		t.Fatal(err)
	}
	x := &extent{all: make(chan struct{}), caughtUp: func() {}, last: 1}
	expect := func(what, subjects string, failed error, known bool) {
		t.Helper()
		w.level.at.Store(nil)
		b.measure(asking, w, x, subjects, failed)
		if at := w.level.at.Load(); (at != nil) != known {
			t.Errorf("%s: all is known: %t", what, at != nil)
		}
	}
	failed := errors.New("not answered")
	expect("what was there at the start is not read", everySubject, nil, false)
	x.reach(1)
	expect("a look that failed", everySubject, failed, false)
	expect("nothing more is read", everySubject, nil, false)
	x.reading.Lock()
	expect("something is being read", everySubject, nil, true)
	x.reading.Unlock()
	expect("nothing more is read again", everySubject, nil, false)
	expect("the rest is not followed", publicSubject("a", "one", "*"), nil, true)
	w.level.gone = 0
	x.reach(2)
	expect("all is read, and nobody says so", everySubject, failed, false)
	expect("all is read", everySubject, nil, true)
	submit(ctx, t, b, "three", "four")
	if err := b.look(ctx, w); err != nil {
		t.Fatal(err)
	}
	expect("more has come", everySubject, nil, false)
	x.reach(3)
	expect("it is being read", everySubject, nil, true)
	expect("and not any more", everySubject, nil, false)
	if err := b.purge(ctx, jobsStream, publicSubject("a", "four", "*"), 0); err != nil {
		t.Fatal(err)
	}
	expect("the rest is let go", everySubject, nil, true)
	end()
	expect("and is not asked for again", everySubject, nil, true)

	now := time.Now()
	long := now.Add(-4 * lookEvery)
	w.level.at.Store(&long)
	other := b.watch(logsStream)
	defer b.unwatch(other)
	other.level.at.Store(&now)
	b.answered.Store(&now)
	b.setKnown()
	if silence := b.Silence(now); silence != 4*lookEvery {
		t.Errorf("of one stream it is known what it had %s ago, and it is silent for %s", 4*lookEvery, silence)
	}
	if silence := b.SilenceOfJobs(now); silence != 4*lookEvery {
		t.Errorf("of the jobs it is known what there was %s ago, and they are silent for %s", 4*lookEvery, silence)
	}
	w.level.at.Store(&now)
	other.level.at.Store(&long)
	b.setKnown()
	if all, jobs := b.Silence(now), b.SilenceOfJobs(now); all != 4*lookEvery || jobs != 0 {
		t.Errorf("of the logs it is known what there was %s ago; all is silent for %s, and the jobs for %s", 4*lookEvery, all, jobs)
	}
	w.level.at.Store(&long)
	other.level.at.Store(&now)
	b.unwatch(w)
	if silence := b.Silence(now); silence != 0 {
		t.Errorf("that stream is not followed any more, and it is silent for %s", silence)
	}
}
