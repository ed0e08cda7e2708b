// netlab-api serves the HTTP API, and with --with-worker a worker too.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"netlab-runner/internal/program"
	"netlab-runner/internal/settings"
)

// version is set by the linker, see the Makefile.
var version = "dev"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "netlab-api:", err)
		os.Exit(1)
	}
}

func run() error {
	s, err := settings.ParseAPI(settings.Process(version))
	if errors.Is(err, settings.ErrDone) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.MakeDirs(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	program.Announce(log, "netlab-api", version, s.Summary())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err = program.RunAPI(ctx, s, version, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
