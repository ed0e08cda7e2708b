package api

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// unchunk sends a stream to a client of HTTP/1.0, which knows no chunks: as it is, and the connection ends with it. A stream
// that breaks off resets the connection.
func (s *Server) unchunk(c *fasthttp.RequestCtx) {
	if c.Request.Header.IsHTTP11() || !c.Response.IsBodyStream() || c.Response.Header.ContentLength() >= 0 {
		return
	}
	c.Response.Header.Del(fiber.HeaderTransferEncoding)
	c.SetConnectionClose()
	header := bytes.Clone(c.Response.Header.Header())
	head := c.IsHead()
	s.unchunked.Add(1)
	c.HijackSetNoResponse(true)
	c.Hijack(func(hijacked net.Conn) {
		defer s.unchunked.Done()
		if err := s.sendUnchunked(hijacked, header, c.Response.BodyStream(), head); err != nil {
			if own := ownConn(c.Conn()); own != nil {
				own.reset()
			}
		}
		_ = c.Response.CloseBodyStream() // it was read as far as it is to be
	})
}

func (s *Server) sendUnchunked(to io.Writer, header []byte, stream io.Reader, head bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("http: panic", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if _, err = to.Write(header); err == nil && !head {
		_, err = io.Copy(to, stream)
	}
	return err
}
