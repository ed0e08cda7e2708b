package api

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Limits of what comes before a body. They are fixed: what a client of ours has to say is far below.
const (
	// readBuffer is the size of the largest request line with its headers.
	readBuffer = 16 << 10
	// maxHeaders bounds the number of headers.
	maxHeaders = 100
	// maxTarget bounds the path of a request, as it is sent, in bytes.
	maxTarget = 2 << 10
	// maxQuery bounds the query of a request: the longest path of a file, with every byte of it as %XX, and some room.
	maxQuery = 13 << 10
	// maxParameters bounds the number of parameters in a query.
	maxParameters = 100
)

// unknownLength is the length of a body that comes in chunks.
const unknownLength = -1

// noBody is the length of a body that the server below knows nothing of: it reads none.
const noBody = -2

// framing is what the headers of a request say about where its body ends, and what is wrong with them that the server below
// lets through: where a proxy in front reads them in another way, what follows would be a request that the proxy has not seen.
type framing struct {
	// length is of the body, in bytes; unknownLength for chunks.
	length int64
	// fault is why the request cannot be read; nil where it can.
	fault *failure
}

// framingOf reads the headers as they were sent.
func framingOf(h *fasthttp.RequestHeader) framing {
	broken := func(status int, format string, args ...any) framing {
		return framing{fault: &failure{status: status, text: fmt.Sprintf(format, args...)}}
	}
	version := string(h.Protocol())
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return broken(http.StatusBadRequest, "the version of HTTP is not supported: use HTTP/1.1")
	}
	if fault := targetFault(h.RequestURI()); fault != nil {
		return framing{fault: fault}
	}
	var length, coding, credentials []string
	count := 0
	// Not by bytes.SplitSeq, whose closures each request would pay for.
	for line, rest := []byte(nil), h.RawHeaders(); len(rest) > 0; {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		if count++; count > maxHeaders {
			return broken(http.StatusRequestHeaderFieldsTooLarge, "the request has more than %d headers", maxHeaders)
		}
		if line[0] == ' ' || line[0] == '\t' {
			return broken(http.StatusBadRequest, "header %d goes over two lines: write each as 'Name: value'", count-1)
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case isHeader(name, "content-length"):
			length = append(length, trimmed(value))
		case isHeader(name, "transfer-encoding"):
			coding = append(coding, trimmed(value))
		case isHeader(name, "authorization"):
			credentials = append(credentials, trimmed(value))
		}
	}
	switch {
	case len(credentials) > 1:
		return broken(http.StatusBadRequest, "header authorization is there twice: send it once")
	case coding != nil && length != nil:
		return broken(http.StatusBadRequest, "headers content-length and transfer-encoding are both there: send one of them")
	case coding != nil && !strings.EqualFold(coding[0], "chunked"):
		return broken(http.StatusBadRequest, "header transfer-encoding is not supported: use chunked")
	case coding != nil:
		return framing{length: unknownLength}
	case length == nil:
		return framing{}
	}
	n, err := strconv.ParseInt(length[0], 10, 64)
	if err != nil || n < 0 {
		return broken(http.StatusBadRequest, "header content-length is not a number of bytes: send it once, in decimal digits")
	}
	return framing{length: n}
}

func trimmed(value []byte) string { return string(bytes.Trim(value, " \t")) }

// isHeader says whether a header has the name, which is in lower case.
func isHeader(name []byte, want string) bool {
	return len(name) == len(want) && strings.ToLower(string(name)) == want
}

// targetFault says what is wrong with the target of a request, nil for nothing.
func targetFault(target []byte) *failure {
	path, query, _ := bytes.Cut(target, []byte("?"))
	switch {
	case len(path) > maxTarget:
		return &failure{status: http.StatusRequestURITooLong, text: fmt.Sprintf("the path of the request has %d bytes: use at most %d", len(path), maxTarget)}
	case len(query) > maxQuery:
		return &failure{status: http.StatusRequestURITooLong, text: fmt.Sprintf("the query of the request has %d bytes: use at most %d", len(query), maxQuery)}
	case bytes.Count(query, []byte("&")) >= maxParameters:
		return &failure{status: http.StatusBadRequest, text: fmt.Sprintf("the query of the request has more than %d parameters", maxParameters)}
	}
	return nil
}

// unread says whether the body is one that the server below is not to read, since it would lose track of where it ends: one
// beside GET or HEAD that is not small (it reads a part of it and forgets the rest), and one that is refused anyway.
func (f framing) unread(h *fasthttp.RequestHeader, limit int) bool {
	if f.fault != nil || f.length > int64(limit) {
		return true
	}
	return (h.IsGet() || h.IsHead()) && (f.length == unknownLength || f.length > smallBody)
}

// beforeBody stands between the headers of a request and its body.
func (s *Server) beforeBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	limit, _ := s.bodyLimit(h)
	// Where there is no body, and none is asked for, there is nothing to keep the server below from: guard sees to the rest.
	none := h.ContentLength() == noBody && len(h.PeekCanonical([]byte(fiber.HeaderExpect))) == 0
	if !none && framingOf(h).unread(h, limit) {
		h.Del(fiber.HeaderExpect)
		h.Del(fiber.HeaderTransferEncoding)
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: limit}
}

// guard stands around all of Fiber: what Fiber has no say in, or only a bare text for.
func (s *Server) guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(c *fasthttp.RequestCtx) {
		f := framingOf(&c.Request.Header)
		if f.length != 0 {
			c.SetUserValue(framingKey, f)
		}
		switch own := ownConn(c.Conn()); {
		case own != nil && own.refused && strings.TrimPrefix(string(c.Path()), s.config.Prefix) != healthPath:
			s.refuse(c, &failure{status: http.StatusServiceUnavailable, text: own.refusal})
		case f.fault != nil:
			s.refuse(c, f.fault)
		case !slices.Contains(methods, string(c.Method())):
			s.refuse(c, &failure{status: http.StatusBadRequest, text: "the method of the request is not known"})
		default:
			next(c)
		}
		if own := ownConn(c.Conn()); own != nil && own.refused {
			c.SetConnectionClose()
		}
		s.leaveBody(c, f)
		s.unchunk(c)
	}
}

// refuse answers without Fiber.
func (s *Server) refuse(c *fasthttp.RequestCtx, f *failure) {
	body, _ := encode(map[string]string{"error": f.text}) // a map of strings
	s.metrics.HTTP.Refused(f.status)
	c.Response.Reset()
	c.SetStatusCode(f.status)
	c.SetContentType(fiber.MIMEApplicationJSON)
	c.Response.Header.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if f.status == http.StatusServiceUnavailable {
		c.Response.Header.Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
	}
	c.SetBody(body)
	s.log.Debug("http: refused", "client", c.RemoteAddr(), "status", f.status, "error", f.text)
}
