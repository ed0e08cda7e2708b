package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
)

// talk is a child's end of the talk with its parent: JSON values, one a line.
type talk struct {
	questions <-chan json.RawMessage
	answers   *json.Encoder
	// log is the child's own.
	log slog.Handler
}

// ready tells the parent that the child works, with what it has to know.
func (t *talk) ready(f facts) error { return t.answers.Encode(f) }

// answerWith answers every question with what answer returns then, until ctx ends.
func (t *talk) answerWith(ctx context.Context, answer func() any) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.questions:
			_ = t.answers.Encode(answer()) // nobody hears it any more where that fails
		}
	}
}

// role is what a child does until ctx ends.
type role func(ctx context.Context, config json.RawMessage, t *talk) error

func roles() map[string]role {
	return map[string]role{
		"api":         roleAPI,
		"worker":      roleWorker,
		"bare-post":   roleBarePost,
		"least-post":  roleLeastPost,
		"bare-get":    roleBareGet,
		"bare-bus":    roleBareBus,
		"bare-worker": roleBareWorker,
		"bare-read":   roleBareRead,
		"bare-idle":   roleBareIdle,
		"bus":         roleBus,
		"guard":       roleGuard,
	}
}

// playRole runs the role that the command line names. ok is false where it names none, and this is the benchmark itself.
func playRole() (code int, ok bool) {
	if len(os.Args) != 4 || os.Args[1] != roleWord {
		return 0, false
	}
	name := os.Args[2]
	if err := play(name, os.Args[3]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", name, err)
		return 1, true
	}
	return 0, true
}

func play(name, text string) error {
	do, ok := roles()[name]
	if !ok {
		return errors.New("no such role")
	}
	var in instruction
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return err
	}
	if in.Profile != "" {
		file, err := os.Create(in.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	log, err := os.OpenFile(in.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	questions := make(chan json.RawMessage)
	go func() {
		defer cancel()
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			select {
			case questions <- json.RawMessage(append([]byte(nil), lines.Bytes()...)):
			case <-ctx.Done():
				return
			}
		}
	}()
	err = do(ctx, in.Config, &talk{questions, json.NewEncoder(os.Stdout), programLog(log, os.Stderr)})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// programLog is a log as the programs write it, which costs them something too. What should not happen is shown besides.
func programLog(file, shown io.Writer) slog.Handler {
	return slog.NewMultiHandler(slog.NewTextHandler(file, nil), slog.NewTextHandler(shown, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
