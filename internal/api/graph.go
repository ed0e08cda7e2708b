package api

import (
	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/jobs"
)

// graphAnswer is what the host says of POST /graph.
type graphAnswer struct {
	// SVG is in base 64.
	SVG string `json:"svgBase64"`
	// OutputPath is where the host has stored the picture, relative to the working directory; empty where it has not.
	OutputPath string `json:"outputPath"`
}

// postGraph draws a lab, or a topology.
func (s *Server) postGraph(c *fiber.Ctx) error {
	body, err := plainBody(c)
	if err != nil {
		return err
	}
	q, err := jobs.ParseGraph(body)
	if err != nil {
		return err
	}
	var answer graphAnswer
	if err := s.askLab(&q.Lab, "graph", q, &answer); err != nil {
		return err
	}
	return c.JSON(&answer)
}
