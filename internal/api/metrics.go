package api

import (
	"bytes"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// getMetrics shows the metrics of this API, in the form that Prometheus asks for.
func (s *Server) getMetrics(c *fiber.Ctx) error {
	var text bytes.Buffer
	contentType, err := s.metrics.Write(&text, accepted(c))
	if err != nil {
		s.log.Error("http: metrics", "error", err)
	}
	c.Set(fiber.HeaderContentType, contentType)
	return c.Send(text.Bytes())
}

// notePatterns learns the routes, each of which is one value in the metrics.
func (s *Server) notePatterns() {
	s.patterns = map[string]bool{}
	for _, r := range s.app.GetRoutes(true) {
		s.patterns[r.Path] = true
	}
}

// pattern is the route that a request got to, without the prefix; empty where it got to none.
func (s *Server) pattern(c *fiber.Ctx) string {
	path := c.Route().Path
	if !s.patterns[path] {
		return ""
	}
	if below, ok := strings.CutPrefix(path, s.config.Prefix+"/"); ok {
		return "/" + below
	}
	return path
}

// openStream is an answer without an end of its own, as the metrics count it. The server closes it when it has sent it, or
// cannot.
type openStream struct {
	source
	closed func()
}

// Close takes it out of the count.
func (o *openStream) Close() error {
	o.closed()
	return nil
}

func (s *Server) counted(c *fiber.Ctx, from source) source {
	return &openStream{from, s.metrics.HTTP.Opened(s.pattern(c))}
}
