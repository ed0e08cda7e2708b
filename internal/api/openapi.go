package api

import (
	"sync"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/openapi"
)

// openAPI returns the document of a service.
func openAPI(c *Config) ([]byte, error) {
	a := newAccess(c)
	return openapi.JSON(openapi.Service{
		Version: c.Version,
		Prefix:  c.Prefix,
		Basic:   a != nil && a.basic != nil,
		Bearer:  a != nil && a.bearer != nil,
	})
}

// getOpenAPI returns the handler that shows the OpenAPI document, which is made once, at first use.
func (s *Server) getOpenAPI() fiber.Handler {
	document := sync.OnceValues(func() ([]byte, error) { return openAPI(&s.config) })
	return func(c *fiber.Ctx) error {
		text, err := document()
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
		return c.Send(text)
	}
}
