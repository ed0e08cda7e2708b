package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"

	"netlab-runner/internal/program/apiprogram"
	"netlab-runner/internal/settings"
)

// roleAPI is netlab-api itself, with the arguments that the parent gives. Its facts are "address" and, where the bus listens,
// "bus" and "creds".
func roleAPI(ctx context.Context, config json.RawMessage, t *talk) error {
	var args []string
	if err := json.Unmarshal(config, &args); err != nil {
		return err
	}
	s, err := settings.ParseAPI(settings.Invocation{Args: append(args, syncArguments()...), Stdout: os.Stderr, Version: "bench"})
	if err != nil {
		return err
	}
	if err := s.MakeDirs(); err != nil {
		return err
	}
	return apiprogram.Run(ctx, s, "bench", slog.New(&announcer{Handler: t.log, talk: t, seen: &seen{facts: facts{}}}))
}

// announcer tells the parent the addresses that the program logs, and passes on what is for the log.
type announcer struct {
	slog.Handler
	talk *talk
	seen *seen
}

type seen struct {
	mu    sync.Mutex
	facts facts
}

func (a *announcer) Handle(ctx context.Context, r slog.Record) error {
	names := map[string]map[string]string{
		"bus listening": {"url": "bus", "credentials": "creds"},
		"listening":     {"address": "address"},
	}[r.Message]
	if names != nil {
		a.seen.mu.Lock()
		defer a.seen.mu.Unlock()
		r.Attrs(func(attr slog.Attr) bool {
			if name, ok := names[attr.Key]; ok {
				a.seen.facts[name] = attr.Value.String()
			}
			return true
		})
		// The HTTP address comes last.
		if a.seen.facts["address"] != "" {
			if err := a.talk.ready(a.seen.facts); err != nil {
				return err
			}
		}
	}
	return a.Handler.Handle(ctx, r)
}

func (a *announcer) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &announcer{Handler: a.Handler.WithAttrs(attrs), talk: a.talk, seen: a.seen}
}

func (a *announcer) WithGroup(name string) slog.Handler {
	return &announcer{Handler: a.Handler.WithGroup(name), talk: a.talk, seen: a.seen}
}
