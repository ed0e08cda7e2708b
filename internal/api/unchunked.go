package api

import (
	"bytes"
	"io"
	"net"

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
	s.unchunked.Add(1)
	c.HijackSetNoResponse(true)
	c.Hijack(func(hijacked net.Conn) {
		defer s.unchunked.Done()
		_, err := hijacked.Write(header)
		if err == nil {
			_, err = io.Copy(hijacked, c.Response.BodyStream())
		}
		if err != nil {
			if own := ownConn(c.Conn()); own != nil {
				own.reset()
			}
		}
		_ = c.Response.CloseBodyStream() // it was read as far as it is to be
	})
}
