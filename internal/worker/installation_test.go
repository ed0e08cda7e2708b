package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
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

// What is installed while the worker works is found by the lease, and by the next job, which does not wait for that.
func TestAnotherNetlabIsInstalled(t *testing.T) {
	t.Parallel()
	for _, warm := range []time.Duration{0, time.Hour} {
		t.Run(warm.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			purelib := func(python string) string {
				out, err := osexec.CommandContext(t.Context(), python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").Output()
				must(t, err)
				return strings.TrimSpace(string(out))
			}
			must(t, osexec.CommandContext(t.Context(), standins.Python(t), "-m", "venv", "--without-pip", filepath.Join(dir, "venv")).Run())
			own := filepath.Join(dir, "venv", "bin", "python")
			there, packages := purelib(standins.Python(t)), purelib(own)
			must(t, os.WriteFile(filepath.Join(packages, "netlab.pth"), []byte(there+"\n"), 0o644))
			python, looks := filepath.Join(dir, "python"), filepath.Join(dir, "looks")
			script := fmt.Sprintf("#!/bin/sh\n[ \"$5\" = probe ] && echo look >> %s\nexec %s \"$@\"\n", looks, own)
			must(t, os.WriteFile(python, []byte(script), 0o755))

			var log logged
			i := &installation{python: python, dataDir: filepath.Join(dir, "data"), warm: warm, log: slog.New(slog.NewTextHandler(&log, nil))}
			t.Cleanup(i.close)
			first, err := i.get(t.Context())
			must(t, err)
			// looked has the lease, or a job, look, and says how often somebody has asked Python by then.
			looked := func(look func()) int {
				look()
				i.looking.Lock()
				defer i.looking.Unlock()
				text, err := os.ReadFile(looks)
				must(t, err)
				return strings.Count(string(text), "\n")
			}
			job := func() {
				i.mu.Lock()
				known := i.found
				i.mu.Unlock()
				if got, err := i.get(t.Context()); err != nil || got != known {
					t.Errorf("%v, %v", got, err)
				}
			}
			is := func(version string) {
				t.Helper()
				if found, err := i.last(); err != nil || found.Version != version {
					t.Errorf("%v, %v instead of %s", found, err, version)
				}
			}
			for range 3 {
				looked(job)
				looked(i.check)
			}
			if n := looked(i.check); n != 1 {
				t.Errorf("asked %d times though nothing has changed", n)
			}
			is(first.Version)

			must(t, os.Mkdir(filepath.Join(packages, "netsim"), 0o755))
			install := func(text string) { // of another length each time, by which Python knows what it has compiled within a second
				text = fmt.Sprintf("__path__.append(%q)\n%s\n", filepath.Join(there, "netsim"), text)
				must(t, os.WriteFile(filepath.Join(packages, "netsim", "__init__.py"), []byte(text), 0o644))
			}
			install(`__version__ = "99.1"`)
			looked(job)
			is("99.1")
			install(`__version__ = "99.20"`)
			looked(i.check)
			is("99.20")
			// Not later: one that has still to import Netlab ends where that is broken.
			if ready := standins.KeepsNetlabReady(t, i.dataDir); ready != (warm > 0) {
				t.Errorf("kept ready: %v", ready)
			}
			before := looked(i.check)
			install(`raise RuntimeError("half installed")`)
			for range 3 {
				looked(i.check)
			}
			if _, err := i.last(); err == nil || !strings.Contains(err.Error(), "half installed") {
				t.Errorf("error %v", err)
			}
			if n := looked(i.check); n != before+1 {
				t.Errorf("asked %d times of a Netlab that stays broken", n-before)
			}
			if _, err := i.get(t.Context()); err == nil {
				t.Error("a job gets a Netlab that is broken")
			}
			part := filepath.Join(packages, "netsim", "mended.py")
			install("__version__ = \"99.29\"\nimport netsim.mended")
			looked(i.check)
			if _, err := i.last(); err == nil || !strings.Contains(err.Error(), "ModuleNotFoundError") {
				t.Errorf("error %v", err)
			}
			must(t, os.WriteFile(part, []byte("(\n"), 0o644))
			looked(i.check)
			if _, err := i.last(); err == nil || !strings.Contains(err.Error(), "SyntaxError") {
				t.Errorf("error %v", err)
			}
			must(t, os.WriteFile(part, []byte("# mended where it is\n"), 0o644))
			looked(i.check)
			is("99.29")
			install(`__version__ = "99.300"`)
			looked(i.check)
			is("99.300")
			if !log.has("half installed") || !log.has("version=99.300") {
				t.Errorf("logged: %s", &log.text)
			}
			i.close()
			if standins.KeepsNetlabReady(t, i.dataDir) {
				t.Error("it is kept ready after the end")
			}
		})
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
