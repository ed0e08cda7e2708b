package exec_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/test/people"
)

// kept is what the package's tests share: to find Netlab, and to import it for each run, takes longer than most of them.
var kept shared

type shared struct {
	mu     sync.Mutex
	dir    string                  // open to every user; "": not made yet
	found  map[string]*exec.Netlab // by their interpreters
	public string                  // a Python with Netlab that every user can run; "": none was made
	tried  bool                    // to make one
}

// testRun runs the tests, and puts what they share away before anybody looks for leaks.
type testRun struct{ *testing.M }

func (r testRun) Run() int {
	code := r.M.Run()
	if err := kept.close(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

// netlab is a Netlab that is kept ready, in a data directory that other users can come to.
func (s *shared) netlab(t *testing.T, python string) *exec.Netlab {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.found[python]; n != nil {
		return n
	}
	n, err := exec.Find(testContext(t), python, filepath.Join(s.folder(t), "data"))
	if err != nil {
		t.Fatal(err)
	}
	// A test whose run has to be forked cannot say why it was not.
	n.KeepWarm(time.Minute, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if s.found == nil {
		s.found = map[string]*exec.Netlab{}
	}
	s.found[python] = n
	return n
}

// publicPython returns a Python with Netlab that every user can run.
func (s *shared) publicPython(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tried {
		s.tried = true
		s.public = people.Python(t, testPython(t), s.folder(t))
	}
	if s.public == "" {
		t.Skip("other users run Netlab in this test, and there is no Python for them: another test says why")
	}
	return s.public
}

func (s *shared) folder(t *testing.T) string {
	t.Helper()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "exec-test-")
		if err == nil {
			s.dir = dir
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.dir
}

func (s *shared) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.found {
		n.Close()
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
