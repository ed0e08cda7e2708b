package worker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/test/standins"
)

const oneLink = `graph { "r1" -- "r2" }`

// graphTest is a renderer with the real netlab-graph, and a user whose labs it draws, who cannot come to where it keeps Graphviz.
type graphTest struct {
	*testing.T
	renderer *renderer
	user     *syscall.Credential
	log      *logged
}

var buildGraph = sync.OnceValues(func() (string, error) {
	program := filepath.Join(os.Getenv("HOME"), graphProgram) // TestMain's
	build := exec.Command("go", "build", "-o", program, "netlab-runner/cmd/graph")
	build.Env = append(os.Environ(), "HOME="+callersHome)
	return program, build.Run()
})

func newGraphTest(t *testing.T) *graphTest {
	t.Helper()
	program, err := buildGraph()
	must(t, err)
	g := &graphTest{T: t, log: &logged{}}
	if os.Geteuid() == 0 {
		g.user = newUser(t).Credential()
	}
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(dir, 0o700))
	g.renderer = newRenderer(&Config{Host: "h1", DataDir: dir, GraphProgram: program, Log: slog.New(slog.NewTextHandler(g.log, nil))})
	return g
}

func (g *graphTest) draw() {
	g.Helper()
	image, err := g.renderer.render(g.Context(), oneLink, g.user)
	if err != nil || !strings.Contains(string(image), ">r2</text>") {
		g.Fatalf("%v: %s", err, image)
	}
}

// kept is the file of the compiled Graphviz, checked that the users can read it, and write nothing there.
func (g *graphTest) kept() string {
	g.Helper()
	file := ""
	must(g.T, filepath.WalkDir(g.renderer.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		must(g.T, err)
		want := fs.FileMode(0o755)
		if !entry.IsDir() {
			file, want = path, 0o644
		}
		if mode, owner := info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Uid; mode != want || int(owner) != os.Geteuid() {
			g.Errorf("%s has mode %o, owner %d", path, mode, owner)
		}
		return nil
	}))
	if file == "" {
		g.Fatal("Graphviz was not kept")
	}
	return file
}

// usesKept draws, and fails unless the kept Graphviz was read for it.
func (g *graphTest) usesKept() {
	g.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(g.T, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, g.kept(), unix.IN_ACCESS)
	must(g.T, err)
	g.draw()
	if n, err := unix.Read(fd, make([]byte, 4<<10)); n <= 0 {
		g.Errorf("the kept Graphviz was not used (%v)", err)
	}
}

func TestGraphvizIsCompiledOnce(t *testing.T) {
	t.Parallel()
	g := newGraphTest(t)
	g.draw()
	first, err := os.Stat(g.kept())
	must(t, err)
	g.usesKept()
	again, err := os.Stat(g.kept())
	must(t, err)
	if !os.SameFile(first, again) || g.log.has("WARN") {
		t.Errorf("compiled again: %s", &g.log.text)
	}
}

func TestDamagedGraphvizIsCompiledAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(g *graphTest) error{
		"cut off":                 func(g *graphTest) error { return os.Truncate(g.kept(), 1<<20) },
		"for another processor":   func(g *graphTest) error { return os.Rename(g.kept(), g.kept()[:len(g.kept())-1]+"_") },
		"with its folder removed": func(g *graphTest) error { return os.RemoveAll(g.renderer.folder) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraphTest(t)
			if g.user == nil && name == "for another processor" {
				t.Skip("who may write there keeps that one, too")
			}
			g.draw()
			must(t, damage(g))
			g.draw()
			g.draw()
			g.usesKept()
		})
	}
}

func TestGraphvizThatCannotBeKept(t *testing.T) {
	t.Parallel()
	g := newGraphTest(t)
	must(t, os.WriteFile(filepath.Dir(g.renderer.folder), nil, 0o600))
	g.draw()
	wantWords(t, g.log.text.String(), "a second longer", g.renderer.folder)
	// It is not tried with each graph, but again later.
	must(t, os.Remove(filepath.Dir(g.renderer.folder)))
	g.draw()
	if _, err := os.Stat(g.renderer.folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tried again at once (%v)", err)
	}
	g.renderer.failed = time.Now().Add(-compilePause)
	g.draw()
	g.usesKept()
}

// A graph that cannot be drawn is not the code's fault.
func TestGraphThatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	g := newGraphTest(t)
	g.draw()
	dir := filepath.Dir(g.renderer.folder)
	fails := filepath.Join(dir, "fails")
	must(t, standins.WriteProgram(fails, []byte("#!/bin/sh\necho panic: it fails >&2\nexit 2\n"), 0o755))
	g.renderer.program = fails
	if _, err := g.renderer.render(t.Context(), oneLink, nil); err == nil {
		t.Error("it is drawn")
	} else {
		wantWords(t, err.Error(), "exit status 2", "it fails")
	}
	g.renderer.program = filepath.Join(dir, "missing")
	if _, err := g.renderer.render(t.Context(), oneLink, nil); err == nil {
		t.Error("it is drawn")
	} else {
		wantWords(t, err.Error(), "missing is not there")
	}
	if !g.renderer.compiled.Load() || g.log.has("WARN") {
		t.Errorf("the code is said to be of no use: %s", &g.log.text)
	}
}

func wantTooLong(t *testing.T, err error) {
	t.Helper()
	if none := (*noAnswer)(nil); !errors.As(err, &none) || none.Status != http.StatusServiceUnavailable {
		t.Errorf("%v", err)
	}
}

func TestTimeIsOverWhileGraphvizIsCompiled(t *testing.T) {
	t.Parallel()
	g := newGraphTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.renderer.render(ctx, oneLink, g.user)
	wantTooLong(t, err)
	// Somebody else's is being compiled.
	g.renderer.turn <- struct{}{}
	_, err = g.renderer.render(ctx, oneLink, g.user)
	wantTooLong(t, err)
	<-g.renderer.turn
	g.draw()
	g.usesKept()
}
