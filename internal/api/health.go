package api

import (
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"
)

// getHealth says that the process lives.
func (s *Server) getHealth(c *fiber.Ctx) error {
	return c.JSON(map[string]string{"status": "ok"})
}

// getReadiness says whether the API can do all it is for, or what stands in the way.
func (s *Server) getReadiness(c *fiber.Ctx) error {
	reasons := s.config.View.NotReady()
	if s.running.Err() != nil {
		reasons = append(reasons, errStopping.Error())
	}
	if len(reasons) == 0 {
		return c.JSON(map[string]string{"status": "ready"})
	}
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
	return c.Status(http.StatusServiceUnavailable).JSON(map[string]any{"status": "not ready", "reasons": reasons})
}
