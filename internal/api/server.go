// Package api is the HTTP face of the system: routes, who may use them, and every answer's form. It is the only package that
// knows Fiber.
//
// An error is a JSON object {"error":"<text>"} on every way out, those of the HTTP server itself included.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/metrics"
	"netlab-runner/internal/view"
)

// Config says what the API serves and to whom.
type Config struct {
	// View answers every read of jobs, logs and hosts.
	View *view.View
	// Dispatcher makes jobs.
	Dispatcher *dispatch.Dispatcher
	// Bus asks hosts.
	Bus *bus.Bus

	// Prefix is the path that every route stands below, such as "/netlab". /healthz and /readyz are at the root too.
	// Defaults to none.
	Prefix string
	// DefaultHost is the host that /status and /templates answer for where the request names none. Defaults to none: then
	// /status is of the whole fleet, and the others need ?host=.
	DefaultHost string
	// StatusOutput is the form of /status where the request asks for none: "json" or "text". Defaults to "json".
	StatusOutput string
	// LogDefault is the form of a log for a client whose Accept header is a bare */*: "text" or "json". Defaults to "text".
	LogDefault string

	// User and Password are the Basic credentials, Token the bearer token that may use the API. Defaults to none: everybody
	// may.
	User, Password, Token string
	// TLSCert and TLSKey are PEM files. Defaults to none: plain HTTP.
	TLSCert, TLSKey string

	// BodyLimit is the size of the largest JSON body in bytes. Defaults to 8 MiB.
	BodyLimit int
	// BundleLimit is the size of the largest multipart body in bytes. Defaults to 32 MiB.
	BundleLimit int
	// IdleTimeout is how long a connection without a request is kept. Defaults to 5 s: there are clients that open one for every
	// request and never use it again.
	IdleTimeout time.Duration
	// BodyMemory bounds the memory for bodies of more than 64 KiB, in bytes, each counted twice. Defaults to 256 MiB, and to
	// no less than one body of the largest kind needs.
	BodyMemory int64
	// RoomTimeout is how long a body waits for room in that memory. Defaults to 5 s.
	RoomTimeout time.Duration
	// Connections is how many connections there may be. Defaults to 4096.
	Connections int
	// ClientConnections is how many of them may be of one address, an IPv6 one's /64. Defaults to half of Connections.
	ClientConnections int
	// ReadTimeout is how long a whole request may take to arrive, and of a body of more than 1 MiB each further MiB. Defaults
	// to 30 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may take for one block of an answer, not for the whole of it. Defaults to 60 s.
	WriteTimeout time.Duration
	// Heartbeat is the pause after which an idle stream looks whether its client is still there. Defaults to 10 s.
	Heartbeat time.Duration
	// HostTimeout is how long each host has to answer when all are asked. Defaults to 3 s.
	HostTimeout time.Duration

	// Version of the program, shown in the Server header.
	Version string
	// Log receives requests (debug) and faults of ours (error). Defaults to none.
	Log *slog.Logger
}

func (c *Config) complete() {
	if c.Prefix = strings.Trim(c.Prefix, "/"); c.Prefix != "" {
		c.Prefix = "/" + c.Prefix
	}
	if c.StatusOutput == "" {
		c.StatusOutput = formJSON
	}
	if c.LogDefault == "" {
		c.LogDefault = formText
	}
	if c.BodyLimit <= 0 {
		c.BodyLimit = 8 << 20
	}
	if c.BundleLimit <= 0 {
		c.BundleLimit = 32 << 20
	}
	if c.BodyMemory <= 0 {
		c.BodyMemory = 256 << 20
	}
	c.BodyMemory = max(c.BodyMemory, bodyCopies*int64(max(c.BodyLimit, c.BundleLimit)))
	if c.Connections <= 0 {
		c.Connections = 4096
	}
	if c.ClientConnections <= 0 {
		c.ClientConnections = (c.Connections + 1) / 2
	}
	for timeout, standard := range map[*time.Duration]time.Duration{
		&c.IdleTimeout:  5 * time.Second,
		&c.RoomTimeout:  5 * time.Second,
		&c.ReadTimeout:  30 * time.Second,
		&c.WriteTimeout: time.Minute,
		&c.Heartbeat:    10 * time.Second,
		&c.HostTimeout:  3 * time.Second,
	} {
		if *timeout <= 0 {
			*timeout = standard
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves the API on one listener.
type Server struct {
	config  Config
	log     *slog.Logger
	app     *fiber.App
	metrics *metrics.Metrics
	// patterns are the routes without the prefix, by what they are with it.
	patterns map[string]string
	// anonymous is who sends a request where the API is open to all.
	anonymous *credential
	// bodies is the room for large bodies, in bytes.
	bodies *semaphore.Weighted
	limit  *connLimit
	// blocks is the memory that streams are sent from.
	blocks *blockPool
	// unchunked are the streams that the server below has let go.
	unchunked sync.WaitGroup

	// quick has room for the answers with files that may have much in memory.
	quick chan struct{}
	// fetching has room for the snapshots of topologies that are in memory, parsing for the one that is read at a time: a
	// hostile one takes much more.
	fetching, parsing chan struct{}

	// running ends, with errStopping, when the server shuts down. It is the parent of the context of every request that changes nothing.
	running context.Context
	stop    context.CancelCauseFunc
}

// New returns a server that serves nothing yet.
func New(c Config) *Server {
	c.complete()
	s := &Server{
		config: c, log: c.Log, anonymous: nobody(),
		bodies: semaphore.NewWeighted(c.BodyMemory), limit: newConnLimit(c.Connections, c.ClientConnections),
		quick:    make(chan struct{}, quickStreams),
		blocks:   newBlockPool(),
		fetching: make(chan struct{}, snapshots), parsing: make(chan struct{}, 1),
	}
	s.running, s.stop = context.WithCancelCause(context.Background())
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ServerHeader:          strings.TrimSuffix("netlab-api/"+c.Version, "/"),
		CaseSensitive:         true,
		RequestMethods:        methods,
		// What a handler reads of the request is copied, since a stream outlives its handler and the view keeps ids.
		Immutable: true,
		BodyLimit: c.BodyLimit,
		// A body is read when it is known whose it is.
		StreamRequestBody: true,
		ReadBufferSize:    readBuffer,
		ReadTimeout:       c.ReadTimeout, IdleTimeout: c.IdleTimeout,
		// It would bound the whole of an answer. Each connection bounds its single writes instead.
		WriteTimeout:                 0,
		DisablePreParseMultipartForm: true,
		JSONEncoder:                  encode,
		ErrorHandler:                 s.fail,
	})
	s.metrics = metrics.New(metrics.Config{View: c.View, Bus: c.Bus, Version: c.Version})
	s.routes()
	s.notePatterns()
	server := s.app.Server()
	server.HeaderReceived = s.beforeBody
	server.Handler = s.guard(s.app.Handler())
	// A request that cannot be parsed may hold credentials.
	server.SecureErrorLogMessage = true
	server.Logger = serverLog{s.log}
	return s
}

// Serve serves on the listener, which it closes, until Shutdown. It returns nil after a Shutdown.
func (s *Server) Serve(l net.Listener) error {
	own := &listener{Listener: l, stall: s.config.WriteTimeout, limit: s.limit, log: s.log}
	if s.config.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.config.TLSCert, s.config.TLSKey)
		if err != nil {
			return errors.Join(fmt.Errorf("TLS: %w", err), l.Close())
		}
		own.tls = &tls.Config{
			Certificates: []tls.Certificate{pair},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"},
		}
	}
	if s.running.Err() != nil {
		return l.Close()
	}
	// A Shutdown that comes now finds no listener to close in the server below.
	defer context.AfterFunc(s.running, func() { _ = own.Close() })() // the server below closes it too, and has the error
	return s.app.Listener(own)
}

// Shutdown ends open streams, takes no new connection, and returns when the requests under way are answered, or with an error
// when ctx ends before. What makes or cancels a job has 5 s from then on. A stream of text is broken off, so that its reader does not take it for whole; a stream of events ends
// without the event "end".
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(errStopping)
	if err := s.app.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("HTTP: requests are still under way: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); s.unchunked.Wait() }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("HTTP: streams are still under way: %w", ctx.Err())
	}
}
