package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

// errStopping is why the context of requests ends when the server shuts down.
var errStopping = errors.New("the API is shutting down")

// retryAfter is, in seconds, when a client may ask again for what is away now.
const retryAfter = 2

// failure is an error together with the status that tells a client of it.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func failed(status int, format string, args ...any) error {
	return &failure{status: status, text: fmt.Sprintf(format, args...)}
}

// invalid is a request with one parameter that is wrong.
func invalid(field, format string, args ...any) error {
	return &jobs.Invalid{Faults: []jobs.Fault{{Field: field, Text: fmt.Sprintf(format, args...)}}}
}

// fail answers with an error. Every error of the API and of the HTTP server below it comes through here.
func (s *Server) fail(c *fiber.Ctx, err error) error {
	f := s.failureOf(c, err)
	if f.status == http.StatusInternalServerError {
		s.log.Error("http: internal error", "method", c.Method(), "path", c.Path(), "error", err)
	}
	if f.status == http.StatusServiceUnavailable {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
	}
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.Status(f.status).JSON(map[string]string{"error": f.text})
}

func (s *Server) failureOf(c *fiber.Ctx, err error) *failure {
	var (
		known    *failure
		protocol *fiber.Error
		faults   *jobs.Invalid
		placed   *dispatch.PlacedError
		ended    *dispatch.EndedError
		reused   *dispatch.KeyReusedError
	)
	with := func(status int) *failure { return &failure{status: status, text: err.Error()} }
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &protocol):
		return s.protocolFailure(c, protocol)
	case errors.As(err, &faults):
		// Without what wraps it: clients read "field: text".
		return &failure{status: http.StatusBadRequest, text: faults.Error()}
	case errors.As(err, &placed), errors.As(err, &ended):
		return with(http.StatusConflict)
	case errors.As(err, &reused):
		return with(http.StatusUnprocessableEntity)
	case errors.Is(err, bus.ErrTooLarge):
		return with(http.StatusRequestEntityTooLarge)
	case errors.Is(context.Cause(s.running), errStopping) && errors.Is(err, context.Canceled),
		errors.Is(err, errStopping), errors.Is(err, logfile.ErrClosed):
		return &failure{status: http.StatusServiceUnavailable, text: errStopping.Error()}
	case errors.Is(err, dispatch.ErrNoHost):
		return &failure{status: http.StatusServiceUnavailable, text: err.Error() + ": start a netlab-worker; GET /hosts shows which are known"}
	case errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrFull), errors.Is(err, bus.ErrHostAway),
		// Somebody was quicker, twice in a row: the next try finds what they left.
		errors.Is(err, bus.ErrConflict), errors.Is(err, bus.ErrNotFound):
		return with(http.StatusServiceUnavailable)
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{status: http.StatusServiceUnavailable, text: "the bus is unavailable: no answer in time"}
	case errors.Is(err, view.ErrCursor):
		return with(http.StatusBadRequest)
	}
	return &failure{status: http.StatusInternalServerError, text: "internal error; the log of the API has more"}
}

// protocolFailure words an error of Fiber's or of the HTTP server's. Their own texts may hold parts of the request.
func (s *Server) protocolFailure(c *fiber.Ctx, e *fiber.Error) *failure {
	switch e.Code {
	case http.StatusNotFound:
		return &failure{status: e.Code, text: "not found"}
	case http.StatusMethodNotAllowed:
		allowed := string(c.Response().Header.Peek(fiber.HeaderAllow))
		return &failure{status: e.Code, text: fmt.Sprintf("method %s is not allowed here: use %s", c.Method(), allowed)}
	}
	// The rest was refused before the whole request was read, and around did not see it.
	s.metrics.HTTP.Refused(e.Code)
	if conn := connOf(c); conn != nil {
		conn.linger()
	}
	switch e.Code {
	case http.StatusRequestTimeout:
		return &failure{status: e.Code, text: fmt.Sprintf("the request did not arrive within %s (NETLAB_API_READ_TIMEOUT)", s.config.ReadTimeout)}
	case http.StatusRequestHeaderFieldsTooLarge:
		return &failure{status: e.Code, text: fmt.Sprintf("the request line and the headers have more than %d bytes", readBuffer)}
	default:
		return &failure{status: http.StatusBadRequest, text: "the request is not valid HTTP/1.1"}
	}
}

// caughtUp is an error while a read of the view may miss jobs or hosts.
func (s *Server) caughtUp() error {
	if s.config.View.CaughtUp() {
		return nil
	}
	return failed(http.StatusServiceUnavailable, "not ready: %s", strings.Join(s.config.View.NotReady(), "; "))
}
