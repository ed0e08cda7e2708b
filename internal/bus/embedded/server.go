// Package embedded runs the NATS server of a netlab-api that has no other. Only a program that may run one is to import it: the
// server is most of such a program, on the disk and in memory.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"netlab-runner/internal/bus/seed"
	"netlab-runner/internal/durable"
)

// Config describes the server.
type Config struct {
	// Dir is where the server keeps its store and its credentials.
	Dir string
	// Listen is the host:port of a listener; empty: none, only this process reaches the server. Port 0 takes a free one.
	Listen string
	// SyncAlways makes every message durable before it is acknowledged; else the store is synced every SyncInterval.
	SyncAlways   bool
	SyncInterval time.Duration
	// Log receives the server's own warnings and errors.
	Log *slog.Logger
	// sayEvery is the constant, where a test does not set it.
	sayEvery time.Duration
}

// Server is a NATS server with JetStream in this process.
type Server struct {
	options *server.Options
	// server is started anew when its store can write no more.
	server atomic.Pointer[server.Server]
	// trouble is why its store can write no more, nil where it can.
	trouble atomic.Pointer[string]
	// CredsFile holds the key that every client shows (nats --nkey), one in this process too. Empty without a listener: there is none.
	CredsFile string

	log *slog.Logger
	// sayEvery is how often it is said that the store is still being read.
	sayEvery time.Duration

	cancel context.CancelFunc
	done   chan struct{}
}

const (
	// sayEvery is how often it is said that a server is still reading its store.
	sayEvery = 10 * time.Second
	// readyTimeout is for one that has started. It says so at once, but is not asked even once when the time is over before.
	readyTimeout = time.Second
	// healthEvery is how often the server's store is looked at.
	healthEvery = time.Second
	// healthPatience is how long a server that can write may say that it is not well. A stream that is just being made or removed is
	// unknown to it for as long as the disk takes, which may be seconds; and it has a millisecond to see that it takes connections.
	healthPatience = 10 * time.Second
	// healthRoom is how much has to fit onto the disk before a server is started anew, in bytes.
	healthRoom = 8 << 20
)

// Start runs a server until Stop. It returns when the server has read its store, which after a crash takes minutes where there are
// gigabytes of logs, or ctx has ended. Another error names the setting that can mend it.
func Start(ctx context.Context, c Config) (*Server, error) {
	o := &server.Options{
		ServerName: "netlab-api",
		JetStream:  true,
		StoreDir:   filepath.Join(c.Dir, "bus"),
		DontListen: c.Listen == "",
		// Without it the server takes over the signals of the whole process.
		NoSigs:       true,
		MaxPayload:   1 << 20,
		SyncAlways:   c.SyncAlways,
		SyncInterval: c.SyncInterval,
	}
	s := &Server{options: o, log: c.Log, sayEvery: cmp.Or(c.sayEvery, sayEvery), done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.Listen != "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return nil, fmt.Errorf("NETLAB_BUS_LISTEN %q: %w", c.Listen, err)
		}
		if o.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("NETLAB_BUS_LISTEN %q: the port is not a number", c.Listen)
		}
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
		o.Host = host
		s.CredsFile = filepath.Join(c.Dir, "bus.nk")
		user, err := loadOrMakeUser(s.CredsFile)
		if err != nil {
			return nil, err
		}
		o.Nkeys = []*server.NkeyUser{{Nkey: user}}
	}
	if c.Listen != "" {
		// The server itself would try for a long time, and say nothing.
		probe, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(max(o.Port, 0)))) //nolint:noctx // a local address
		if err != nil {
			return nil, fmt.Errorf("NETLAB_BUS_LISTEN %s: %w; choose another address, or stop what listens there", c.Listen, err)
		}
		_ = probe.Close()
	}
	if err := checkStore(o.StoreDir); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if address, ok := s.server.Load().Addr().(*net.TCPAddr); ok {
		o.Port = address.Port // clients come back to it
	}
	nursing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.nurse(nursing)
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	srv, err := server.NewServer(s.options)
	if err != nil {
		return fmt.Errorf("embedded bus: %w", err)
	}
	srv.SetLoggerV2(serverLog{s.log}, false, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	if err := s.awaitStart(ctx, started); err != nil {
		// Nothing interrupts it while it reads. A program that ends does not wait for that: its store bears a kill.
		go func() {
			<-started
			srv.Shutdown()
		}()
		return err
	}
	// Asked before it has started it would look again only 25 ms later.
	if !srv.ReadyForConnections(readyTimeout) {
		srv.Shutdown()
		return errors.New("embedded bus: it did not start; see the lines above, and check that the port of NETLAB_BUS_LISTEN is free and NETLAB_API_DATA_DIR writable")
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return fmt.Errorf("embedded bus: no JetStream below %s; is NETLAB_API_DATA_DIR writable?", s.options.StoreDir)
	}
	s.server.Store(srv)
	return nil
}

// awaitStart returns when started is closed, however long that takes, or with the error of ctx. A limit would begin the reading of a large
// store again and again.
func (s *Server) awaitStart(ctx context.Context, started <-chan struct{}) error {
	begin, tick := time.Now(), time.NewTicker(s.sayEvery)
	defer tick.Stop()
	for {
		select {
		case <-started:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("embedded bus: %w", ctx.Err())
		case <-tick.C:
			s.log.Info("embedded bus: still reading its store, which takes minutes where it is large and was not closed in order",
				"store", s.options.StoreDir, "since", time.Since(begin).Round(time.Second))
		}
	}
}

// nurse starts the server anew once its store could not write, of a full disk say, and can again: until then it refuses every
// message of a stream that has met the error, whatever room there is.
func (s *Server) nurse(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	var since time.Time // when it was not well for the first time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		srv := s.server.Load()
		health := srv.Healthz(&server.HealthzOptions{})
		if srv.Running() && health.Error == "" {
			s.trouble.Store(nil)
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		writes := srv.Running() && srv.JetStreamEnabled() && !isWriteError(health)
		if writes && time.Since(since) < healthPatience {
			continue
		}
		if s.trouble.Load() == nil {
			text := "the disk of NETLAB_API_DATA_DIR cannot be written: make room, or make it writable, and the bus goes on by itself"
			if writes {
				text = "the store in NETLAB_API_DATA_DIR is not well: see the lines of the API's log above"
			}
			s.trouble.Store(&text)
			s.log.Error("embedded bus: "+text, "error", health.Error)
		}
		if err := s.restart(ctx, srv); err != nil {
			s.log.Debug("embedded bus", "error", err)
			continue
		}
		since = time.Time{}
	}
}

// isWriteError says whether the store has met an error of the disk.
func isWriteError(health *server.HealthStatus) bool {
	return strings.Contains(health.Error, " write error: ")
}

// remedyOf is what helps where the store cannot be written.
func remedyOf(err error) string {
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		return "make it writable"
	}
	return "make room"
}

// checkStore makes the folder of the store and sees whether it can be written: the server itself would say neither what it cannot
// write nor what helps.
func checkStore(dir string) error {
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		err = durable.Probe(dir)
	}
	if err != nil {
		return fmt.Errorf("embedded bus: the disk of NETLAB_API_DATA_DIR cannot be written: %w: %s", err, remedyOf(err))
	}
	return nil
}

// restart replaces the server, if the disk has room.
func (s *Server) restart(ctx context.Context, srv *server.Server) error {
	probe := filepath.Join(s.options.StoreDir, "room")
	err := os.WriteFile(probe, make([]byte, healthRoom), 0o600)
	if err = errors.Join(err, os.Remove(probe)); err != nil {
		return err
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	if err := s.start(ctx); err != nil {
		return err
	}
	s.log.Info("embedded bus: started anew")
	return nil
}

// InProcessConn is how a client in this process reaches the server.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server.Load().InProcessConn() }

// Trouble is why the store can write no more and what to do, empty where it can.
func (s *Server) Trouble() string {
	if text := s.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// URL is where the listener answers, empty without one.
func (s *Server) URL() string {
	if s.CredsFile == "" {
		return ""
	}
	return s.server.Load().ClientURL()
}

// Stop ends the server and waits until its store is closed.
func (s *Server) Stop() {
	s.cancel()
	<-s.done
	s.server.Load().Shutdown()
	s.server.Load().WaitForShutdown()
}

// loadOrMakeUser returns the public key of the seed in file, which it makes on first use.
func loadOrMakeUser(file string) (string, error) {
	text, err := seed.LoadOrMake(file, nkeys.CreateUser, "\n")
	if err != nil {
		return "", fmt.Errorf("bus credentials: %w (NETLAB_API_DATA_DIR must be writable)", err)
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return "", fmt.Errorf("bus credentials %s: %w; remove the file to have new ones made", file, err)
	}
	return pair.PublicKey()
}
