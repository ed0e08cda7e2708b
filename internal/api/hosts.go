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
	list, active := s.config.View.Hosts(), s.config.View.ActiveByHost()
	for i := range list {
		// The host tells its own with its lease, which is seconds old, and one that was canceled it only drops when its turn comes.
		list[i].Running, list[i].Queued = active[list[i].Name].Running, active[list[i].Name].Queued
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
