package api

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// getArtifacts lists the regular files below a job's working directory, as they are now, and in place of them those that were
// kept, as they were when the job ended. Where the host is away they are all that there is, and "truncated" says so.
func (s *Server) getArtifacts(c *fiber.Ctx) error {
	job, err := s.job(parameter(c, "id"))
	if err != nil {
		return err
	}
	var list artifact.List
	err = s.ask(job.Host, "artifacts", askTimeout, placeOf(&job), &list)
	if err != nil {
		return hostAway(err)
	}
	if list.Files == nil {
		list.Files = []artifact.File{}
	}
	return c.JSON(map[string]any{"artifacts": list.Files, "truncated": list.Truncated})
}

// placeOf is where the host finds the job's files.
func placeOf(job *jobs.Job) artifact.Place {
	return artifact.Place{Workdir: job.Workdir, User: job.User}
}

// isAway says whether a host could not be asked, and may be later.
func isAway(err error) bool {
	return errors.Is(err, bus.ErrHostAway) || errors.Is(err, bus.ErrUnavailable)
}
