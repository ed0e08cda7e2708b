package api

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/view"
)

// postCancel asks for the end of a job and shows it as it is then: a queued one canceled, a running one with cancelRequested.
// Whatever body comes means nothing.
func (s *Server) postCancel(c *fiber.Ctx) error {
	if err := s.caughtUp(); err != nil {
		return err
	}
	ctx, cancel := s.changing(busTimeout)
	defer cancel()
	id := s.jobID(c)
	job, err := s.config.Dispatcher.Cancel(ctx, id)
	if errors.Is(err, view.ErrUnknown) {
		return noSuchJob(id)
	}
	if err != nil {
		return err
	}
	return c.JSON(job)
}
