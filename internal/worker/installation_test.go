package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The lease says what was found while a look takes long: it must not wait for it.
func TestLookingForNetlabBlocksNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	python := filepath.Join(dir, "python3")
	if err := os.WriteFile(python, []byte("#!/bin/sh\ntouch \"$0.reached\"\nexec sleep 60\n"), 0o755); err != nil {
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
