package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/jobs"
)

func TestCancelRequestIsStoredOnce(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if requested, err := b.CancelRequested(ctx, "a", "j1"); err != nil || requested {
		t.Fatalf("before: %v %v", requested, err)
	}
	for range 2 {
		if seq, err := b.RequestCancel(ctx, "a", "j1"); err != nil || seq != 1 {
			t.Fatal(seq, err)
		}
	}
	if requested, err := b.CancelRequested(ctx, "a", "j1"); err != nil || !requested {
		t.Errorf("after: %v %v", requested, err)
	}
	for _, other := range [][2]string{{"a", "j2"}, {"b", "j1"}} {
		if requested, err := b.CancelRequested(ctx, other[0], other[1]); err != nil || requested {
			t.Errorf("%v: %v %v", other, requested, err)
		}
	}
	stream, err := b.js.Stream(ctx, jobsStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages, want one", n)
	}
}

// Of a request and the end of the job at the same moment the request is first, or is told that it came too late.
func TestCancelIsNeverBehindTheEnd(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	late := 0
	for n := range 40 {
		j := job(fmt.Sprintf("j%d", n), "a")
		j.State = jobs.Running
		seq, err := b.PublishStatus(ctx, j, 0)
		if err != nil {
			t.Fatal(err)
		}
		end := *j
		end.State = jobs.Success
		var requested, ended uint64
		var requestErr, endErr error
		var both sync.WaitGroup
		start := make(chan struct{})
		both.Go(func() { <-start; requested, requestErr = b.RequestCancel(ctx, "a", j.ID) })
		both.Go(func() { <-start; ended, endErr = b.PublishStatus(ctx, &end, seq) })
		close(start)
		both.Wait()
		switch {
		case endErr != nil:
			t.Fatal(endErr)
		case errors.Is(requestErr, ErrEnded):
			late++
		case requestErr != nil:
			t.Fatal(requestErr)
		case requested > ended:
			t.Errorf("requested at %d, ended at %d", requested, ended)
		}
	}
	t.Logf("%d of 40 came too late", late)
}

// Of a claim and the end of the queued job at the same moment one wins, and the other is told.
func TestClaimAndCancelHaveOneWinner(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	claims := 0
	for n := range 40 {
		id := jobs.Job{ID: "j" + string(rune('A'+n))}.ID
		claim, end := job(id, "a"), job(id, "a")
		claim.State, end.State = jobs.Running, jobs.Canceled
		var claimed, ended error
		var both sync.WaitGroup
		start := make(chan struct{})
		both.Go(func() { <-start; _, claimed = b.PublishStatus(ctx, claim, 0) })
		both.Go(func() { <-start; _, ended = b.CancelQueued(ctx, end) })
		close(start)
		both.Wait()
		if (claimed == nil) == (ended == nil) {
			t.Fatalf("claim: %v, cancel: %v", claimed, ended)
		}
		if loser := errors.Join(claimed, ended); !errors.Is(loser, ErrConflict) {
			t.Errorf("the loser: %v, want ErrConflict", loser)
		}
		want := jobs.Canceled
		if claimed == nil {
			want, claims = jobs.Running, claims+1
		}
		if last, err := b.LastStatus(ctx, "a", id); err != nil || last.State != want {
			t.Errorf("the last state: %+v %v, want %s", last, err, want)
		}
	}
	t.Logf("%d of 40 claimed", claims)
}

// What is requested while the worker's connection is away is not heard, and is asked for afterwards.
func TestFollowCancelsOverAReconnect(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	api := connect(t, Config{Server: s, Creds: s.CredsFile})
	if err := api.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, address.Host)
	worker := connect(t, Config{URL: "nats://" + p.listener.Addr().String(), Creds: s.CredsFile})

	following, stop := context.WithCancel(ctx)
	defer stop()
	heard, again, done := make(chan string, 10), make(chan struct{}, 10), make(chan error, 1)
	go func() {
		done <- worker.followCancels(following, "a", time.Hour, func(id string) { heard <- id }, func() { again <- struct{}{} })
	}()
	asked := func(what string) {
		t.Helper()
		select {
		case <-again:
		case <-ctx.Done():
			t.Fatalf("not asked again %s", what)
		}
	}
	asked("at the start")
	for !worker.Connected() {
		time.Sleep(time.Millisecond)
	}
	if _, err := worker.CancelRequested(ctx, "a", "none"); err != nil { // the server has the subscription now
		t.Fatal(err)
	}
	const first, second, third = "01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002", "01900000-0000-7000-8000-000000000003"
	hears := func(id string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != id {
				t.Errorf("heard %s, want %s", got, id)
			}
		case <-ctx.Done():
			t.Fatalf("%s not heard", id)
		}
	}
	request := func(host, id string) {
		t.Helper()
		if _, err := api.RequestCancel(ctx, host, id); err != nil {
			t.Fatal(err)
		}
	}
	request("b", third) // another host's
	request("a", first)
	hears(first)

	// The asking at the first connection may have come meanwhile.
	for len(again) > 0 {
		<-again
	}
	p.held.Store(true) // no new connection is answered
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	for worker.Connected() {
		time.Sleep(time.Millisecond)
	}
	request("a", second)
	p.held.Store(false)
	asked("after the reconnect")
	if requested, err := worker.CancelRequested(ctx, "a", second); err != nil || !requested {
		t.Errorf("what was requested meanwhile: %v %v", requested, err)
	}
	request("a", third)
	hears(third)
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// A request may be missed though the host's own connection stands: it asks again by itself.
func TestFollowCancelsAsksAgainByItself(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	following, stop := context.WithCancel(ctx)
	defer stop()
	asked := 0
	err := b.followCancels(following, "a", time.Millisecond, func(string) {}, func() {
		if asked++; asked == 3 {
			stop()
		}
	})
	if ctx.Err() != nil || asked < 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
