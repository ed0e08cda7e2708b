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
	s.patterns = map[string]string{}
	for _, r := range s.app.GetRoutes(true) {
		s.patterns[r.Path] = r.Path
		if below, ok := strings.CutPrefix(r.Path, s.config.Prefix+"/"); ok {
			s.patterns[r.Path] = "/" + below
		}
	}
}

// pattern is the route that a request got to, without the prefix; empty where it got to none.
func (s *Server) pattern(c *fiber.Ctx) string { return s.patterns[c.Route().Path] }

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
