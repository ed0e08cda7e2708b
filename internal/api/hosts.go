package api

import (
	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/hosts"
)

// getHosts lists every host that the API has seen.
func (s *Server) getHosts(c *fiber.Ctx) error {
	if err := s.caughtUp(); err != nil {
		return err
	}
	list := s.config.View.Hosts()
	for i := range list {
		// What a host leaves out is empty, not null.
		if list[i].Labels == nil {
			list[i].Labels = map[string]string{}
		}
		if list[i].Roots == nil {
			list[i].Roots = []string{}
		}
	}
	return c.JSON(map[string][]hosts.Host{"hosts": list})
}
