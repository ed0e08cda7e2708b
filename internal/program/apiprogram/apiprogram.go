// Package apiprogram is netlab-api out of its settings.
package apiprogram

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"netlab-runner/internal/api"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/dirlock"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/program"
	"netlab-runner/internal/program/workerprogram"
	"netlab-runner/internal/retention"
	"netlab-runner/internal/settings"
	"netlab-runner/internal/view"
)

// stopTimeout bounds how long a stop waits for requests under way. It is longer than those may take that change something.
const stopTimeout = 10 * time.Second

// catchUpTimeout is how long clients wait for an API that has started and reads what there is. After it they are told so.
const catchUpTimeout = 5 * time.Second

// Run serves until ctx ends or something fails for good: the embedded bus where there is no other, the worker where
// one is asked for, the view and the HTTP API.
func Run(ctx context.Context, s *settings.API, version string, log *slog.Logger) error {
	// First the address: a port that is taken says so before anything is started.
	listener, err := program.Listen(ctx, &s.HTTP)
	if err != nil {
		return err
	}
	defer listener.Close() // closed already where it was served
	lock, err := dirlock.Take(s.DataDir)
	if errors.Is(err, dirlock.ErrInUse) {
		return fmt.Errorf("NETLAB_API_DATA_DIR %s is used by another netlab-api; give each one a directory of its own", s.DataDir)
	}
	if err != nil {
		return fmt.Errorf("NETLAB_API_DATA_DIR: %w", err)
	}
	defer lock.Release()
	server, err := embeddedBus(ctx, s, log)
	if err != nil {
		return err
	}
	busConfig := program.BusConfig(&s.Bus, log)
	if server != nil {
		defer server.Stop()
		busConfig.Server, busConfig.Trouble, busConfig.Creds = server, server.Trouble, server.CredsFile
	}
	busConfig.Name, busConfig.Source = "netlab-api", "/api"
	b, err := bus.Connect(busConfig)
	if err != nil {
		return err
	}
	defer b.Close()
	logs, err := logfile.Open(filepath.Join(s.DataDir, "logs"))
	if err != nil {
		return err
	}
	defer func() { _ = logs.Close() }()

	ctx, cancel := context.WithCancelCause(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel(nil)
	part := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}

	v := view.New(b, logs, filepath.Join(s.DataDir, "logs", "cursor"), s.Bus.Lease, log)
	part("bus", func(ctx context.Context) error {
		err := b.EnsureStreams(ctx, bus.Limits{
			Replicas: s.Store.Replicas, JobsBytes: int64(s.Store.JobsBytes), LogsBytes: int64(s.Store.LogsBytes),
			ObjectsBytes: int64(s.Store.ObjectsBytes), Lease: s.Bus.Lease,
		})
		if err != nil {
			return err
		}
		v.Run(ctx)
		return nil
	})
	if s.WithWorker {
		part("worker", func(ctx context.Context) error {
			w, err := workerprogram.New(ctx, &s.Worker, version, log)
			if err != nil {
				return err
			}
			return workerprogram.WorkOn(ctx, w, s.Worker.Host, busConfig)
		})
	}
	dispatcher := dispatch.New(b, v, s.Keep)
	keeper := retention.New(retention.Config{Bus: b, View: v, Logs: logs, Age: s.RetainAge, Jobs: s.RetainJobs, Log: log})
	part("retention", func(ctx context.Context) error {
		keeper.Run(ctx)
		return nil
	})
	web := api.New(api.Config{
		View:         v,
		Dispatcher:   dispatcher,
		Bus:          b,
		Prefix:       s.Prefix,
		DefaultHost:  s.DefaultHost,
		StatusOutput: string(s.StatusOutput),
		LogDefault:   string(s.LogDefault),
		BodyLimit:    int(s.BodyLimit),
		BundleLimit:  int(s.BundleLimit),
		BodyMemory:   int64(s.BodyMemory),
		Connections:  s.Connections, ClientConnections: s.ClientConnections,
		ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout, IdleTimeout: s.IdleTimeout,
		TLSCert:  s.TLSCert,
		TLSKey:   s.TLSKey,
		User:     s.User,
		Password: s.Password,
		Token:    s.Token,
		Version:  version,
		Log:      log,
	})
	log.Info("listening", "address", listener.Addr().String(), "prefix", s.Prefix, "tls", s.TLS(), "credentials", s.Credentials())
	part("http", func(ctx context.Context) error {
		// Connections wait in the listener's queue meanwhile: a client that polls sees a pause, not an error.
		waiting, enough := context.WithTimeout(ctx, catchUpTimeout)
		defer enough()
		v.AwaitCaughtUp(waiting)
		if s.WithWorker {
			v.AwaitHost(waiting, s.Worker.Host)
		}
		program.Notify(daemon.SdNotifyReady, log)
		if err := web.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	parts.Go(func() { program.Watch(ctx, v.Check, log) })
	<-ctx.Done()
	program.Notify(daemon.SdNotifyStopping, log)
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	if err := web.Shutdown(stopping); err != nil {
		log.Warn("stop", "error", err)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// embeddedBus starts the server of a program that was given no other; nil where it was.
func embeddedBus(ctx context.Context, s *settings.API, log *slog.Logger) (*embedded.Server, error) {
	if len(s.Bus.URLs) > 0 {
		if s.Bus.Creds == "" {
			log.Warn("the bus is used without credentials of its own: anybody on this machine can read and write it", "remedy", "NETLAB_BUS_CREDS")
		}
		return nil, nil
	}
	starting, started := context.WithCancel(ctx)
	defer started()
	go program.ExtendStart(starting, log)
	server, err := embedded.Start(ctx, embedded.Config{
		Dir: s.DataDir, Listen: s.Store.Listen, SyncAlways: s.Store.Sync.Always, SyncInterval: s.Store.Sync.Interval, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if url := server.URL(); url != "" {
		log.Info("bus listening", "url", url, "credentials", server.CredsFile)
	}
	return server, nil
}
