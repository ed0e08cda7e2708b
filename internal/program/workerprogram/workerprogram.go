// Package workerprogram is netlab-worker, and the worker of netlab-api --with-worker, out of their settings.
package workerprogram

import (
	"context"
	"log/slog"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/program"
	"netlab-runner/internal/settings"
	"netlab-runner/internal/worker"
)

// Run runs a worker until ctx ends.
func Run(ctx context.Context, s *settings.WorkerProgram, version string, log *slog.Logger) error {
	w, err := New(ctx, &s.Worker, version, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { program.Watch(ctx, w.Check, log) })
	// It waits for the bus by itself, for as long as that takes.
	program.Notify(daemon.SdNotifyReady, log)
	context.AfterFunc(ctx, func() { program.Notify(daemon.SdNotifyStopping, log) })
	return WorkOn(ctx, w, s.Worker.Host, program.BusConfig(&s.Bus, log))
}

// New makes a worker that does nothing yet.
func New(ctx context.Context, s *settings.Worker, version string, log *slog.Logger) (*worker.Worker, error) {
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

// WorkOn runs the worker of a host until ctx ends, on a connection of its own to the bus of c.
func WorkOn(ctx context.Context, w *worker.Worker, host string, c bus.Config) error {
	c.Name, c.Source = "netlab-worker "+host, w.Source()
	connection, err := bus.Connect(c)
	if err != nil {
		return err
	}
	defer connection.Close()
	return w.Run(ctx, connection)
}
