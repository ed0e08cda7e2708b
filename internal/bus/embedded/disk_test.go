package embedded

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/asroot"
)

// smallDisk is a directory on a disk of its own of that many bytes.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	asroot.Disk(t, dir, fmt.Sprintf("size=%d", bytes))
	return dir
}

// A server whose disk is full refuses what is new, keeps what it has, and goes on when there is room.
func TestTheDiskOfTheBusIsFull(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	dir := smallDisk(t, 64<<20)
	s, err := Start(t.Context(), Config{Dir: dir, SyncInterval: time.Second, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b := ready(ctx, t, s)
	born := 0
	submit := func() error {
		_, err := b.Submit(ctx, &bus.Birth{Job: jobs.Job{ID: fmt.Sprint("j", born), Host: "a", Action: jobs.Create, State: jobs.Queued, CreatedAt: time.Now()}, Topology: strings.Repeat("x", 32<<10)})
		if err == nil {
			born++
		}
		return err
	}
	if err := submit(); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var refused error
	for range 10 {
		if refused = submit(); refused != nil {
			break
		}
	}
	if !errors.Is(refused, bus.ErrFull) && !errors.Is(refused, bus.ErrUnavailable) {
		t.Errorf("refused with %v", refused)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(refused.Error(), "make room"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no remedy: %v", refused)
		}
		if refused = submit(); refused == nil {
			t.Fatal("accepted on a full disk")
		}
	}
	if _, _, err := b.Birth(ctx, "a", "j0"); err != nil {
		t.Errorf("what is there cannot be read: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for err = submit(); err != nil; err = submit() {
		if ctx.Err() != nil {
			t.Fatalf("with room again: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for i := range born {
		if _, _, err := b.Birth(ctx, "a", fmt.Sprint("j", i)); err != nil {
			t.Errorf("j%d of %d: %v", i, born, err)
		}
	}
}

// A stream that is on the disk and not yet, or not any more, known to the server is no fault of the disk: one that is just being made
// on a slow disk is so, and a server that is started anew meanwhile would take the bus from everybody.
func TestAStreamThatIsBeingMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Start(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ready(deadline(t), t, s)
	before := s.server.Load()
	if err := os.Mkdir(filepath.Join(dir, "bus", "jetstream", "$G", "streams", "MADE"), 0o700); err != nil {
		t.Fatal(err)
	}
	if health := before.Healthz(&server.HealthzOptions{}); health.Error == "" || isWriteError(health) {
		t.Fatalf("the server says %+v", health)
	}
	looked := time.NewTimer(2*healthEvery + healthEvery/2)
	defer looked.Stop()
	<-looked.C
	if trouble := s.Trouble(); s.server.Load() != before || trouble != "" {
		t.Errorf("the server is another one: %t, %q", s.server.Load() != before, trouble)
	}
}

// A server that reads its store for long is waited for, and says so.
func TestAStoreThatIsReadForLong(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	s, err := Start(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := ready(ctx, t, s)
	_, err = b.Submit(ctx, &bus.Birth{Job: jobs.Job{ID: "j1", Host: "a", Action: jobs.Create, State: jobs.Queued, CreatedAt: time.Now()}})
	s.Stop()
	if err != nil {
		t.Fatal(err)
	}
	// Whoever reads a pipe waits for its writer.
	file := filepath.Join(dir, "bus", "jetstream", "$G", "streams", "NETLAB_JOBS", server.JetStreamMetaFile)
	content, err := os.ReadFile(file)
	if err = errors.Join(err, os.Remove(file), unix.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	log, said := io.Pipe()
	defer log.Close()
	go func() {
		lines := bufio.NewScanner(log)
		for reading := 0; lines.Scan(); {
			if strings.Contains(lines.Text(), "still reading its store") {
				if reading++; reading == 2 {
					_ = os.WriteFile(file, content, 0o600)
				}
			}
		}
	}()
	s, err = Start(ctx, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(said, nil)), sayEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	again := ready(ctx, t, s)
	if _, _, err := again.Birth(ctx, "a", "j1"); err != nil {
		t.Errorf("the job: %v", err)
	}
}
