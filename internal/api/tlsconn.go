package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// tlsConn is the connection of a client that speaks TLS, or should.
type tlsConn struct {
	*tls.Conn
	own *conn
}

// Handshake is as of any TLS connection. A client that speaks plain HTTP is told so in the only way that it understands.
func (c *tlsConn) Handshake() error {
	err := c.HandshakeContext(context.Background()) // the server below has set a deadline
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		c.own.linger()
		sayHTTPS(header.Conn)
	}
	return err
}

// looksLikeHTTP says whether these are the first bytes of a request: a method, or the beginning of one.
func looksLikeHTTP(first [5]byte) bool {
	letters := 0
	for _, b := range first {
		if b >= 'A' && b <= 'Z' {
			letters++
			continue
		}
		return letters > 0 && (b == ' ' || b == '-')
	}
	return true
}

func sayHTTPS(c net.Conn) {
	body, _ := encode(map[string]string{"error": "this port speaks TLS: use https://"}) // a map of strings
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%s: %s\r\n%s: nosniff\r\n%s: %d\r\n%s: close\r\n\r\n%s",
		http.StatusBadRequest, http.StatusText(http.StatusBadRequest), fiber.HeaderContentType, fiber.MIMEApplicationJSON,
		fiber.HeaderXContentTypeOptions, fiber.HeaderContentLength, len(body), fiber.HeaderConnection, body) // the client may be gone
}
