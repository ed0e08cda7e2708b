package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

const (
	// smallBody is what the server below reads of a body before anything else.
	smallBody = 8 << 10
	// freeBody is the size up to which a body needs no room among the large ones.
	freeBody = 64 << 10
	// bodyPiece is what of a body has to arrive within one read timeout.
	bodyPiece = 1 << 20
	// leaveTime is how long an answer waits for the rest of a small body that nobody reads.
	leaveTime = time.Second
	// bodyCopies is how often a body is in memory while it becomes a job.
	bodyCopies = 2
)

// framingKey is where a request with a body keeps its framing.
const framingKey = "framing"

// bodyLimit is how much body a request may have, and the name of the setting: a bundle is larger than any JSON.
func (s *Server) bodyLimit(h *fasthttp.RequestHeader) (limit int, setting string) {
	if isMultipart(string(h.ContentType())) {
		return s.config.BundleLimit, "NETLAB_API_BUNDLE_LIMIT"
	}
	return s.config.BodyLimit, "NETLAB_API_BODY_LIMIT"
}

// takeBody reads the body of a request, for the handlers after it, into memory. It stands behind the check of access: nobody
// else makes the API hold anything.
func (s *Server) takeBody(c *fiber.Ctx) error {
	f, _ := c.Context().UserValue(framingKey).(framing)
	limit, setting := s.bodyLimit(&c.Request().Header)
	tooLarge := func() error {
		return failed(http.StatusRequestEntityTooLarge, "body: has more than %d bytes (%s)", limit, setting)
	}
	if f.length > int64(limit) {
		return tooLarge()
	}
	stream := c.Context().RequestBodyStream()
	if c.Method() != fiber.MethodPost || stream == nil {
		return c.Next()
	}
	b := &bodyReader{stream: stream, conn: c.Context().Conn(), timeout: s.config.ReadTimeout, limit: limit, size: int(f.length)}
	if f.length == unknownLength {
		b.size = limit
	}
	body, err := b.read(min(b.size, freeBody), nil)
	if err == nil && !b.ended && b.size > freeBody {
		room := int64(b.size) * bodyCopies
		ctx, cancel := context.WithTimeout(s.running, s.config.RoomTimeout)
		defer cancel()
		if err := s.bodies.Acquire(ctx, room); err != nil && s.running.Err() != nil {
			return errStopping
		} else if err != nil {
			return failed(http.StatusServiceUnavailable, "there is no room for a body of %d bytes beside the others that are arriving (NETLAB_API_BODY_MEMORY): try again", b.size)
		}
		defer s.bodies.Release(room)
		b.extend()
		body, err = b.read(b.size, body)
	}
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return tooLarge()
	case err != nil:
		return s.bodyFault(c, err)
	}
	c.Request().SetBodyRaw(body)
	defer c.Request().ResetBody()
	return c.Next()
}

// bodyFault is an answer to a client that may not be there any more.
func (s *Server) bodyFault(c *fiber.Ctx, err error) error {
	c.Context().SetConnectionClose()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return failed(http.StatusRequestTimeout, "the request did not arrive in time: the whole of it, and of a large body each %d bytes, may take %s (NETLAB_API_READ_TIMEOUT)", bodyPiece, s.config.ReadTimeout)
	}
	return failed(http.StatusBadRequest, "body: is not whole, or its chunks are not valid HTTP/1.1: send it again")
}

// leaveBody brings the connection behind a body that nobody has read, or says that it ends here.
func (s *Server) leaveBody(c *fasthttp.RequestCtx, f framing) {
	limit, _ := s.bodyLimit(&c.Request.Header)
	whole := !f.unread(&c.Request.Header, limit)
	if stream := c.Request.BodyStream(); whole && stream != nil && !c.Response.ConnectionClose() {
		whole = f.length <= freeBody && c.Conn().SetReadDeadline(time.Now().Add(leaveTime)) == nil
		if whole {
			_, err := io.CopyN(io.Discard, stream, freeBody+1)
			whole = errors.Is(err, io.EOF)
		}
	}
	if whole && !c.Response.ConnectionClose() {
		return
	}
	c.SetConnectionClose()
	if own := ownConn(c.Conn()); own != nil {
		own.linger()
	}
}

// bodyReader reads one body.
type bodyReader struct {
	stream  io.Reader
	conn    net.Conn
	timeout time.Duration
	limit   int
	// size is what the body has, at most.
	size int
	// ended says that the whole of it was read.
	ended bool

	count    int
	extended int
}

// read reads on until body has size bytes or is whole. A body that has more than the limit is fasthttp.ErrBodyTooLarge.
func (b *bodyReader) read(size int, body []byte) ([]byte, error) {
	all := make([]byte, len(body), size+1) // one more, to see that there is none
	copy(all, body)
	for !b.ended && (len(all) < size || size == b.size) {
		if len(all) > b.limit {
			return nil, fasthttp.ErrBodyTooLarge
		}
		n, err := b.stream.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		b.count += n
		if b.count-b.extended >= bodyPiece {
			b.extend()
		}
		switch {
		case errors.Is(err, io.EOF):
			b.ended = true
		case err != nil:
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	if len(all) > b.limit {
		return nil, fasthttp.ErrBodyTooLarge
	}
	return all, nil
}

// extend gives the next piece its time.
func (b *bodyReader) extend() {
	b.extended = b.count
	_ = b.conn.SetReadDeadline(time.Now().Add(b.timeout)) // a connection that is closed says so when it is read
}

// plainBody returns the body as it came. It is none that a client has packed.
func plainBody(c *fiber.Ctx) ([]byte, error) {
	if coding := c.Get(fiber.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, failed(http.StatusUnsupportedMediaType, "body: a body that is packed (Content-Encoding) is not supported: send the JSON object itself")
	}
	// Neither Fiber's Body, which unpacks it, to any size, nor its BodyRaw, which copies.
	return c.Request().Body(), nil
}
