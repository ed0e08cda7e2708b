package api

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/jobs"
)

// watched is a way to the server on which it is seen that a birth is sent, before it is.
type watched struct {
	server *embedded.Server
	birth  func()
	once   sync.Once
	// silence is locked while nothing is heard of the server.
	silence sync.RWMutex
}

func (w *watched) InProcessConn() (net.Conn, error) {
	c, err := w.server.InProcessConn()
	return &watchedConn{c, w}, err
}

type watchedConn struct {
	net.Conn
	w *watched
}

func (c *watchedConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(".request ")) {
		c.w.once.Do(c.w.birth)
	}
	return c.Conn.Write(p)
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.silence.RLock()
	defer c.w.silence.RUnlock()
	return n, err
}

// A client whose job is just being born when the API stops hears that it has one, or that it may.
func TestABirthDuringAShutdown(t *testing.T) {
	t.Parallel()
	large := `{"action":"create","workdir":"/home/lab/one","topology":"nodes: [ r1 ]\n#` + strings.Repeat("x", bus.MaxMessage) + `"}`
	for name, test := range map[string]struct {
		payload string
		silent  bool
		check   func(b *testBundle, got reply)
	}{
		"answered": {`{"action":"create","workdir":"/home/lab/one"}`, false, func(b *testBundle, got reply) {
			if got.status != http.StatusAccepted || decode[jobs.Job](t, got.body).Host != "a" {
				b.t.Errorf("%d %s", got.status, got.body)
			}
		}},
		"not answered": {large, true, func(b *testBundle, got reply) {
			b.isError(got, http.StatusServiceUnavailable, "the bus is unavailable", "may have been accepted as")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t, nil)
			ctx, cancel := context.WithTimeout(b.ctx, 2*busTimeout)
			defer cancel()
			stopped := make(chan error, 1)
			w := &watched{server: b.server}
			w.birth = func() {
				if test.silent {
					w.silence.Lock()
					t.Cleanup(w.silence.Unlock)
				}
				go func() { stopped <- b.api.Shutdown(ctx) }()
				<-b.api.running.Done()
			}
			own, err := bus.Connect(bus.Config{Server: w, Source: "/test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(own.Close)
			b.api = New(Config{View: b.view, Dispatcher: dispatch.New(own, b.view, nil), Bus: b.bus})
			b.follow()
			b.serve()
			b.online(hostNamed("a"))
			b.get("/healthz") // with which the document is read
			test.check(b, b.do(http.MethodPost, "/jobs", test.payload))
			select {
			case err := <-stopped:
				if err != nil {
					t.Error(err)
				}
			case <-b.ctx.Done():
				t.Fatal("no birth was sent")
			}
			b.eventually("the job", func() bool { return b.view.Active("a") == 1 })
		})
	}
}

// early is a listener of which something happens as it is first asked for its address: behind the look whether the API is to stop, and
// before anything is accepted.
type early struct {
	net.Listener
	happens func()
	once    sync.Once
}

func (e *early) Addr() net.Addr {
	e.once.Do(e.happens)
	return e.Listener.Addr()
}

// An API that is to stop at the moment at which it begins to serve does.
func TestAShutdownAsServingBegins(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(&early{Listener: l, happens: func() {
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("shutdown: %v", err)
			}
		}})
	}()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	case <-ctx.Done():
		t.Error("it serves on")
	}
}
