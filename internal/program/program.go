// Package program makes the parts of netlab-api and netlab-worker out of their settings.
package program

import (
	"context"
	"log/slog"
	"strings"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/settings"
	"netlab-runner/internal/worker"
)

// Announce writes the start-up line: the version and what was taken of the settings.
func Announce(log *slog.Logger, name, version string, taken []settings.Value) {
	attrs := make([]slog.Attr, 0, len(taken))
	for _, v := range taken {
		attrs = append(attrs, v.Attr())
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, name+" "+version+" starts", attrs...)
}

// BusConfig is how a program with these settings reaches the bus. server is the embedded one, or nil.
func BusConfig(s *settings.Bus, server *bus.Server, name, source string, log *slog.Logger) bus.Config {
	return bus.Config{
		Server:      server,
		URL:         strings.Join(s.URLs, ","),
		Creds:       s.Creds,
		CA:          s.CA,
		Name:        name,
		Source:      source,
		APIPrefix:   s.APIPrefix,
		InboxPrefix: s.InboxPrefix,
		Log:         log,
	}
}

// RunWorker runs a worker until ctx ends.
func RunWorker(ctx context.Context, s *settings.Worker, b *settings.Bus, server *bus.Server, version string, log *slog.Logger) error {
	w, err := worker.New(ctx, worker.Config{
		Host:      s.Host,
		DataDir:   s.DataDir,
		Roots:     s.Roots,
		Templates: s.Templates,
		Python:    s.Python,
		Path:      s.Path,
		Slots:     s.Slots,
		Timeout:   s.Timeout,
		Labels:    s.Labels,
		Version:   version,
		Log:       log,
	})
	if err != nil {
		return err
	}
	connection, err := bus.Connect(BusConfig(b, server, "netlab-worker "+s.Host, w.Source(), log))
	if err != nil {
		return err
	}
	defer connection.Close()
	return w.Run(ctx, connection)
}
