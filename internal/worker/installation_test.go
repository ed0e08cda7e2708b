package worker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netlab-runner/test/standins"
)

// The lease says what was found while a look takes long: it must not wait for it.
func TestLookingForNetlabBlocksNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	python := filepath.Join(dir, "python3")
	if err := standins.WriteProgram(python, []byte("#!/bin/sh\ntouch \"$0.reached\"\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	i := &installation{python: python, dataDir: dir}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := i.get(ctx); done <- err }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(python + ".reached"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody looked")
		}
	}
	known := make(chan struct{})
	go func() { _, _ = i.last(); close(known) }()
	select {
	case <-known:
	case <-time.After(10 * time.Second):
		t.Error("it waits for the look")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a look that was broken off found something")
	}
	if _, err := i.last(); err != nil {
		t.Errorf("a look that was broken off is remembered: %v", err)
	}
}

// Netlab is kept ready for as long as the worker works, unless its settings say never.
func TestNetlabIsKeptReady(t *testing.T) {
	t.Parallel()
	for warm, want := range map[time.Duration]bool{time.Minute: true, 0: false} {
		i := &installation{python: standins.Python(t), dataDir: t.TempDir(), warm: warm, log: slog.New(slog.DiscardHandler)}
		if _, err := i.get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := standins.KeepsNetlabReady(t, i.dataDir); got != want {
			t.Errorf("for %s: kept ready: %v", warm, got)
		}
		i.close()
		if standins.KeepsNetlabReady(t, i.dataDir) {
			t.Errorf("for %s: kept ready after the end", warm)
		}
	}
}
