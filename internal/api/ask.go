package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
)

// askTimeout bounds what a request waits for the one host that has its answer.
const askTimeout = 10 * time.Second

// ask puts a question to a host and reads the answer into reply. Errors are those of bus.Ask.
func (s *Server) ask(host, endpoint string, timeout time.Duration, question, reply any) error {
	ctx, cancel := context.WithTimeout(s.running, timeout)
	defer cancel()
	data, err := s.config.Bus.Ask(ctx, host, endpoint, question)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return &bus.HostError{Host: host, Text: fmt.Sprintf("its answer cannot be read: %v", err)}
	}
	return nil
}

// hostOf returns the host that a request is for: the one it names, which must be known, or else the default one. Empty: it
// names none and there is no default.
func (s *Server) hostOf(c *fiber.Ctx) (string, error) {
	name := c.Query("host")
	if name == "" {
		return s.config.DefaultHost, nil
	}
	if _, ok := s.config.View.Host(name); ok {
		return name, nil
	}
	if err := s.caughtUp(); err != nil {
		return "", err
	}
	return "", failed(http.StatusNotFound, "host: no host %q is known; GET %s/hosts lists them", shown(name), s.config.Prefix)
}

// oneHostOf is hostOf for what one host has to answer.
func (s *Server) oneHostOf(c *fiber.Ctx) (string, error) {
	host, err := s.hostOf(c)
	if err == nil && host == "" {
		err = invalid("host", "is missing: name the host to ask with ?host=; GET %s/hosts lists them", s.config.Prefix)
	}
	return host, err
}
