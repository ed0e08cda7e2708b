package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// ServerConfig describes the server that runs inside netlab-api.
type ServerConfig struct {
	// Dir is where the server keeps its store and its credentials.
	Dir string
	// Listen is the host:port of a listener; empty: none, only this process reaches the server. Port 0 takes a free one.
	Listen string
	// SyncAlways makes every message durable before it is acknowledged; else the store is synced every SyncInterval.
	SyncAlways   bool
	SyncInterval time.Duration
	// Log receives the server's own warnings and errors.
	Log *slog.Logger
}

// Server is a NATS server with JetStream in this process.
type Server struct {
	server *server.Server
	// CredsFile holds the key that a client of the listener shows (nats --nkey). Empty without a listener.
	CredsFile string
}

const startTimeout = 30 * time.Second

// StartServer runs a server until Stop. An error names the setting that can mend it.
func StartServer(c ServerConfig) (*Server, error) {
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
	s := &Server{}
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
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("embedded bus: %w", err)
	}
	if c.Log != nil {
		srv.SetLoggerV2(serverLog{c.Log}, false, false, false)
	}
	go srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded bus: not ready after %s; see the lines above, and check that NETLAB_BUS_LISTEN %q is free", startTimeout, c.Listen)
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded bus: no JetStream below %s; is NETLAB_API_DATA_DIR writable?", o.StoreDir)
	}
	s.server = srv
	return s, nil
}

// URL is where the listener answers, empty without one.
func (s *Server) URL() string {
	if s.CredsFile == "" {
		return ""
	}
	return s.server.ClientURL()
}

// Stop ends the server and waits until its store is closed.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// connection is how a client in this process reaches the server.
func (s *Server) connection() ([]nats.Option, error) {
	opts := []nats.Option{nats.InProcessServer(s.server)}
	if s.CredsFile == "" {
		return opts, nil
	}
	key, err := nats.NkeyOptionFromSeed(s.CredsFile)
	if err != nil {
		return nil, fmt.Errorf("bus credentials %s: %w", s.CredsFile, err)
	}
	return append(opts, key), nil
}

// loadOrMakeUser returns the public key of the seed in file, which it makes on first use.
func loadOrMakeUser(file string) (string, error) {
	seed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return "", err
		}
		if seed, err = pair.Seed(); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
			return "", fmt.Errorf("bus credentials: %w (NETLAB_API_DATA_DIR must be writable)", err)
		}
	} else if err != nil {
		return "", fmt.Errorf("bus credentials: %w", err)
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "", fmt.Errorf("bus credentials %s: %w; remove the file to have new ones made", file, err)
	}
	return pair.PublicKey()
}
