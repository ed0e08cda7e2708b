// Package program makes the parts of netlab-api and netlab-worker out of their settings.
package program

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

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
	w, err := newWorker(ctx, &s.Worker, version, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { watch(ctx, w.Check, log) })
	// It waits for the bus by itself, for as long as that takes.
	notify(daemon.SdNotifyReady, log)
	context.AfterFunc(ctx, func() { notify(daemon.SdNotifyStopping, log) })
	return workOn(ctx, w, s.Worker.Host, &s.Bus, nil, log)
}

func newWorker(ctx context.Context, s *settings.Worker, version string, log *slog.Logger) (*worker.Worker, error) {
	return worker.New(ctx, workerConfig(s, version, log))
}

func workerConfig(s *settings.Worker, version string, log *slog.Logger) worker.Config {
	return worker.Config{
		Host:        s.Host,
		DataDir:     s.DataDir,
		Roots:       s.Roots,
		Templates:   s.Templates,
		Python:      s.Python,
		Path:        s.Path,
		Slots:       s.Slots,
		Timeout:     s.Timeout,
		LogLimit:    int64(s.LogLimit),
		LogPatience: s.LogPatience,
		Warm:        s.Warm,
		Homes:       s.Homes,
		RunAs:       s.RunAs,
		URLNetworks: s.URLPrefixes(),
		Labels:      s.Labels,
		Version:     version,
		Log:         log,
	}
}

// workOn runs a worker on the bus of these settings, or on the embedded server where it is given.
func workOn(ctx context.Context, w *worker.Worker, host string, b *settings.Bus, server *bus.Server, log *slog.Logger) error {
	connection, err := bus.Connect(busConfig(b, server, "netlab-worker "+host, w.Source(), log))
	if err != nil {
		return err
	}
	defer connection.Close()
	return w.Run(ctx, connection)
}
