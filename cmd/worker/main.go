// netlab-worker runs the jobs of one lab host.
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
		fmt.Fprintln(os.Stderr, "netlab-worker:", err)
		os.Exit(1)
	}
}

func run() error {
	s, err := settings.ParseWorker(settings.Process(version))
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
	program.Announce(log, "netlab-worker", version, s.Summary())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err = program.RunWorker(ctx, &s.Worker, &s.Bus, nil, version, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
