package api

import (
	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/openapi"
)

// openAPI returns the document of this service, which is made once, at first use.
func openAPI(c *Config) func() ([]byte, error) {
	a := newAccess(c)
	service := openapi.Service{
		Version: c.Version,
		Prefix:  c.Prefix,
		Basic:   a != nil && a.basic != nil,
		Bearer:  a != nil && a.bearer != nil,
	}
	return func() ([]byte, error) { return openapi.JSON(service) }
}

// getOpenAPI shows the OpenAPI document.
func (s *Server) getOpenAPI(c *fiber.Ctx) error {
	document, err := s.document()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(document)
}
