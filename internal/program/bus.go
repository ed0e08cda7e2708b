package program

import (
	"log/slog"
	"strings"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/settings"
)

// BusConfig is how a program with these settings reaches a bus that is not in this process.
func BusConfig(s *settings.Bus, log *slog.Logger) bus.Config {
	return bus.Config{
		URL:         strings.Join(s.URLs, ","),
		Creds:       s.Creds,
		CA:          s.CA,
		APIPrefix:   s.APIPrefix,
		InboxPrefix: s.InboxPrefix,
		Log:         log,
	}
}
