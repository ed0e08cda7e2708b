package api

import (
	"slices"

	"github.com/gofiber/fiber/v2"
)

// methods are those that a route may have or be asked for in vain: Fiber's own, and QUERY, which is younger.
var methods = append(slices.Clone(fiber.DefaultMethods), "QUERY") //nolint:gochecknoglobals // a table that is never written
