package api

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
)

// around stands around every handler: its error becomes an answer, and the request a line in the log. Of the request only
// method and path are logged: the query and the headers may hold what is not for a log.
func (s *Server) around(c *fiber.Ctx) error {
	start := c.Context().Time()
	// Set would bring the name into this form first, each time.
	c.Response().Header.SetCanonical([]byte(fiber.HeaderXContentTypeOptions), []byte("nosniff"))
	if err := s.guarded(c); err != nil {
		if err := s.fail(c, err); err != nil {
			return err
		}
	}
	s.metrics.HTTP.Answered(s.pattern(c), c.Method(), c.Response().StatusCode(), time.Since(start))
	if s.log.Enabled(s.running, slog.LevelDebug) {
		s.log.LogAttrs(s.running, slog.LevelDebug, "http: request",
			slog.String("method", c.Method()),
			slog.String("path", c.Path()),
			slog.Int("status", c.Response().StatusCode()),
			slog.Duration("duration", time.Since(start)))
	}
	return nil
}

// tellAge says how old the answer to a question may be, in seconds, while the bus is away: it is what was known then.
func (s *Server) tellAge(c *fiber.Ctx) error {
	if silence := s.config.Bus.Silence(c.Context().Time()); silence > 0 && (c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead) {
		c.Set(fiber.HeaderAge, strconv.Itoa(max(int(silence.Seconds()), 1)))
	}
	return c.Next()
}

// guarded keeps a panic of a handler from ending the process.
func (s *Server) guarded(c *fiber.Ctx) (err error) {
	defer s.survive(&err)
	return c.Next()
}

// survive, deferred, makes an error of a panic, which would end the process.
func (s *Server) survive(err *error) {
	if r := recover(); r != nil {
		s.log.Error("http: panic", "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("panic: %v", r)
	}
}

// sendStream answers with what r reads, length bytes or, where that is -1, until it ends. The server reads r after the handler
// has returned, in the same goroutine, and closes it, if it can be closed, when it has sent the answer or cannot.
func (s *Server) sendStream(c *fiber.Ctx, r io.Reader, length int) {
	c.Response().SetBodyStream(&survivor{s, r}, length)
}

// survivor is a reader of which a panic is an error: nothing else stands between it and the server.
type survivor struct {
	server *Server
	io.Reader
}

// Read is as of any reader.
func (v *survivor) Read(p []byte) (n int, err error) {
	defer v.server.survive(&err)
	return v.Reader.Read(p)
}

// Close closes what can be closed.
func (v *survivor) Close() error {
	if closer, ok := v.Reader.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// unambiguous refuses a parameter that is there with two values: nobody knows which one is meant.
func unambiguous(c *fiber.Ctx) error {
	if !bytes.Contains(c.Context().URI().QueryString(), []byte("&")) {
		return c.Next()
	}
	first, twice := make(map[string]string), ""
	for name, value := range c.Context().QueryArgs().All() {
		if was, ok := first[string(name)]; ok && was != string(value) && twice == "" {
			twice = string(name)
		}
		first[string(name)] = string(value)
	}
	if twice != "" {
		return invalid(shown(twice), "is given twice: send it once")
	}
	return c.Next()
}

// serverLog takes what the HTTP server logs: connections that broke.
type serverLog struct{ log *slog.Logger }

// Printf logs at debug level.
func (l serverLog) Printf(format string, args ...any) {
	l.log.Debug("http: " + fmt.Sprintf(format, args...))
}
