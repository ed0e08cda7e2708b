package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// sameSite refuses a request that changes something and that a browser sends for a page of another site: it can be sent without
// the page's reader knowing, with the credentials that the browser has, or to an API on loopback that asks for none. It goes by
// Sec-Fetch-Site, which a page cannot set, and by Origin where a browser is too old for that. Other clients send neither.
func sameSite(c *fiber.Ctx) error {
	if c.Method() != http.MethodPost {
		return c.Next()
	}
	origin := c.Get(fiber.HeaderOrigin)
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return c.Next()
	case "":
		if origin == "" {
			return c.Next()
		}
		if from, err := url.Parse(origin); err == nil && strings.EqualFold(from.Host, string(c.Request().Host())) {
			return c.Next()
		}
	}
	return failed(http.StatusForbidden, "origin: a page of another site (%s) may not do this: use the API from a program, or from a page at its own address", shown(origin))
}
