package bus

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/hosts"
)

// proxy stands between a client and a server and can hold back what the server says, or, where it is deaf, the client.
type proxy struct {
	listener net.Listener
	held     atomic.Bool
	deaf     atomic.Bool
	mu       sync.Mutex
	conns    []net.Conn
	wg       sync.WaitGroup
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, upstream)
			p.mu.Unlock()
			p.wg.Go(func() { _, _ = io.Copy(upstream, &heldReader{&p.deaf, client}); _ = upstream.Close() })
			p.wg.Go(func() { _, _ = io.Copy(client, &heldReader{&p.held, upstream}); _ = client.Close() })
		}
	})
	t.Cleanup(func() {
		p.held.Store(false)
		p.deaf.Store(false)
		p.cut()
		p.wg.Wait()
	})
	return p
}

// cut ends the connections, and takes no more.
func (p *proxy) cut() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

type heldReader struct {
	held *atomic.Bool
	net.Conn
}

func (h *heldReader) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	for h.held.Load() {
		time.Sleep(time.Millisecond)
	}
	return n, err
}

// newProxiedBus starts a server and connects to it, directly and through a proxy.
func newProxiedBus(t *testing.T, limits Limits) (direct, proxied *Bus, p *proxy) {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	direct = connect(t, Config{Server: s, Creds: s.CredsFile})
	if err := direct.EnsureStreams(deadline(t), limits); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	p = newProxy(t, address.Host)
	proxied = connect(t, Config{URL: "nats://" + p.listener.Addr().String(), Creds: s.CredsFile})
	for !proxied.Connected() {
		time.Sleep(time.Millisecond)
	}
	return direct, proxied, p
}

// A birth whose answer is late is sent again, and is one job.
func TestSubmitWithoutAnswer(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	direct, b, p := newProxiedBus(t, testLimits)

	p.held.Store(true)
	short, cancel := context.WithTimeout(ctx, submitAttempt/2)
	defer cancel()
	_, err := b.Submit(short, &Birth{Job: *job("open", "a")})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "may have been accepted as open") {
		t.Errorf("no answer at all: %v", err)
	}
	if _, err := direct.FindJob(ctx, "open"); err != nil {
		t.Errorf("it was born all the same: %v", err)
	}

	late := time.AfterFunc(submitAttempt+submitAttempt/2, func() { p.held.Store(false) })
	defer late.Stop()
	seq, err := b.Submit(ctx, &Birth{Job: *job("late", "a")})
	if err != nil {
		t.Fatalf("a late answer: %v", err)
	}
	if found, err := direct.FindJob(ctx, "late"); err != nil || found.Seq != seq {
		t.Errorf("found %+v %v, want sequence %d", found, err, seq)
	}
}

// However the last try of a birth ends, one before it may have been stored: the caller is told so.
func TestSubmitAfterATryWithoutAnswer(t *testing.T) {
	t.Parallel()
	for what, ends := range map[string]func(p *proxy, cancel func()){
		"the connection ends":      func(p *proxy, _ func()) { p.cut() },
		"the caller does not wait": func(_ *proxy, cancel func()) { cancel() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			direct, b, p := newProxiedBus(t, testLimits)
			p.held.Store(true)
			submitting, cancel := context.WithCancel(ctx)
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := b.Submit(submitting, &Birth{Job: *job("stored", "a")})
				failed <- err
			}()
			for _, err := direct.FindJob(ctx, "stored"); err != nil; _, err = direct.FindJob(ctx, "stored") {
				if !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			ends(p, cancel)
			err := <-failed
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "may have been accepted as stored") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A try that has run out of its time is followed by another one, whatever it was waiting for.
func TestRetryAfterATryThatHasRunOut(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	tries := 0
	err := b.Retry(deadline(t), "a question", func(context.Context) error {
		if tries++; tries == 1 {
			return context.DeadlineExceeded
		}
		return nil
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

// A renewal whose answer is lost is given up while there is time for another one, which finds what became of it.
func TestRenewalWithoutAnswer(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	limits := testLimits
	limits.Lease = 3 * time.Second
	_, b, p := newProxiedBus(t, limits)
	h := &hosts.Host{Name: "a", Identity: "one"}
	lease, err := b.AcquireLease(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	p.held.Store(true)
	began := time.Now()
	if err := lease.Renew(ctx, h); !errors.Is(err, ErrUnavailable) || time.Since(began) > lease.TTL {
		t.Errorf("no answer: %v after %s", err, time.Since(began))
	}
	p.held.Store(false)
	if err := lease.Renew(ctx, h); err != nil {
		t.Errorf("again: %v", err)
	}
}

// connectedAtOnce is Connected, which is to wait for nothing. What it might wait for takes longer than within.
func connectedAtOnce(t *testing.T, b *Bus, within time.Duration) bool {
	t.Helper()
	began := time.Now()
	connected := b.Connected()
	if took := time.Since(began); took > within {
		t.Fatalf("it took %s to hear of the connection", took)
	}
	return connected
}

// Whether the connection stands is told at once while a server that says nothing is waited for.
func TestConnectedWhileAServerIsSilent(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted, done := make(chan struct{}, 100), make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			accepted <- struct{}{}
		}
	}()
	b := connect(t, Config{URL: "nats://" + l.Addr().String()})
	for range 2 { // the first of Connect itself, then one behind it
		select {
		case <-accepted:
		case <-ctx.Done():
			t.Fatal("not tried again")
		}
	}
	if connectedAtOnce(t, b, time.Second) {
		t.Error("connected")
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("submit: %v", err)
	}
}

// It is told at once, too, while a server reads nothing of what is sent to it. That is given up after a while.
func TestConnectedWhileAServerIsDeaf(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	_, b, p := newProxiedBus(t, testLimits)
	p.deaf.Store(true)
	failed := make(chan error, 1)
	go func() {
		var err error
		for block := make([]byte, 256<<10); err == nil && ctx.Err() == nil; {
			err = b.nc.Publish("somewhere", block)
		}
		failed <- err
	}()
	for given := time.After(2 * answerTimeout); ; {
		select {
		case err := <-failed:
			if err = translate(err); !errors.Is(err, ErrUnavailable) {
				t.Errorf("the write ends with %v", err)
			}
			return
		case <-given:
			t.Fatal("the write is not given up")
		case <-time.After(10 * time.Millisecond):
			connectedAtOnce(t, b, answerTimeout-time.Second)
		}
	}
}

// Credentials that are refused may be put right at the server: the connection is tried for ever.
func TestRefusedCredentialsAreTriedAgain(t *testing.T) {
	t.Parallel()
	ctx, right := deadline(t), t.TempDir()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: right, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	b := connect(t, Config{URL: s.URL(), Creds: s.CredsFile})
	s.Stop()
	other, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: address.Host})
	if err != nil {
		t.Fatal(err)
	}
	refused := b.nc.Stats().Reconnects
	for start := time.Now(); time.Since(start) < 3*time.Second && ctx.Err() == nil && !b.nc.IsClosed(); {
		time.Sleep(10 * time.Millisecond)
	}
	other.Stop()
	again, err := embedded.Start(t.Context(), embedded.Config{Dir: right, Listen: address.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Stop()
	for !b.Connected() {
		if ctx.Err() != nil || b.nc.IsClosed() {
			t.Fatalf("not connected again: %v (%d reconnects before)", b.nc.LastError(), refused)
		}
		time.Sleep(time.Millisecond)
	}
}

// Of a server that was started anew the hosts are heard at once: an API that waited for the watch's own heartbeats would say
// for many seconds that no host is online.
func TestHostsAreHeardAfterAServerWasStartedAnew(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	b, worker := connect(t, Config{URL: s.URL(), Creds: s.CredsFile}), connect(t, Config{URL: s.URL(), Creds: s.CredsFile})
	for !b.Connected() || !worker.Connected() {
		time.Sleep(time.Millisecond)
	}
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	h := &hosts.Host{Name: "a", Identity: "one"}
	lease, err := worker.AcquireLease(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(ctx)
	heard, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = b.WatchHosts(watching, func(e HostEvent) { heard <- e.Host.Version }, func() { heard <- "caught up" })
	}()
	defer func() { stop(); <-done }()
	for range 2 {
		<-heard
	}
	s.Stop()
	if s, err = embedded.Start(t.Context(), embedded.Config{Dir: dir, Listen: address.Host}); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	h.Version = "new"
	for err := lease.Renew(ctx, h); err != nil; err = lease.Renew(ctx, h) {
		if ctx.Err() != nil {
			t.Fatalf("the lease is not renewed: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	late := time.After(4 * time.Second)
	for version := ""; version != "new"; {
		select {
		case version = <-heard:
		case <-late:
			t.Fatal("the host is not heard")
		}
	}
}
