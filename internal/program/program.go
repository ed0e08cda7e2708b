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

// busConfig is how a program with these settings reaches the bus. server is the embedded one, or nil.
func busConfig(s *settings.Bus, server *bus.Server, name, source string, log *slog.Logger) bus.Config {
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
func RunWorker(ctx context.Context, s *settings.WorkerProgram, version string, log *slog.Logger) error {
	return runWorker(ctx, &s.Worker, &s.Bus, nil, version, log)
}

// runWorker runs a worker on the bus of these settings, or on the embedded server where it is given.
func runWorker(ctx context.Context, s *settings.Worker, b *settings.Bus, server *bus.Server, version string, log *slog.Logger) error {
	w, err := worker.New(ctx, worker.Config{
		Host:        s.Host,
		DataDir:     s.DataDir,
		Roots:       s.Roots,
		Templates:   s.Templates,
		Python:      s.Python,
		Path:        s.Path,
		Slots:       s.Slots,
		Timeout:     s.Timeout,
		LogLimit:    int64(s.LogLimit),
		Homes:       s.Homes,
		RunAs:       s.RunAs,
		URLNetworks: s.URLPrefixes(),
		Labels:      s.Labels,
		Version:     version,
		Log:         log,
	})
	if err != nil {
		return err
	}
	connection, err := bus.Connect(busConfig(b, server, "netlab-worker "+s.Host, w.Source(), log))
	if err != nil {
		return err
	}
	defer connection.Close()
	return w.Run(ctx, connection)
}
