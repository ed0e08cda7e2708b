// Package program is what netlab-api and netlab-worker have in common: settings, signals, systemd, and where the bus is.
package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"netlab-runner/internal/settings"
)

// Settings are those of either program.
type Settings interface {
	Summary() []settings.Value
	MakeDirs() error
}

// Main is the whole of a program: it takes the settings, says what was taken, and runs until a signal ends it.
func Main[S Settings](name, version string, parse func(settings.Invocation) (S, error), run func(context.Context, S, string, *slog.Logger) error) {
	if err := start(name, version, parse, run); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func start[S Settings](name, version string, parse func(settings.Invocation) (S, error), run func(context.Context, S, string, *slog.Logger) error) error {
	s, err := parse(settings.Process(version))
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
	announce(log, name, version, s.Summary())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		// To the very end: of a terminal that is closed both the kernel and the shell tell.
		ctx, _ = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	// A second one of the others ends the program at once.
	context.AfterFunc(ctx, stop)
	err = run(ctx, s, version, log)
	log.Info(name + " stops")
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// announce writes the start-up line: the version and what was taken of the settings.
func announce(log *slog.Logger, name, version string, taken []settings.Value) {
	attrs := make([]slog.Attr, 0, len(taken))
	for _, v := range taken {
		attrs = append(attrs, v.Attr())
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, name+" "+version+" starts", attrs...)
}
