package worker

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/test/people"
)

// limit is how long a test waits for what has to come.
const limit = 90 * time.Second

// callersHome is that of whoever runs the tests, where Go keeps what it has built.
var callersHome = os.Getenv("HOME")

func TestMain(m *testing.M) {
	// The labs of whoever runs the tests are nobody's business.
	home, err := os.MkdirTemp("", "worker-test-home-")
	if err == nil {
		err = os.Setenv("HOME", home)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// logged is what a worker has written into its own log.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

// into has a worker write its own log there.
func (l *logged) into(c *Config) { c.Log = slog.New(slog.NewTextHandler(l, nil)) }

// newUser makes a user of this machine, with a home, for the time of the test.
func newUser(t *testing.T) *account.Account {
	t.Helper()
	a, err := account.Lookup(people.New(t, "/home").Name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// own makes the user the owner of a directory, made where it is not there.
func own(t *testing.T, a *account.Account, dir string) string {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755), os.Chown(dir, a.UID, a.GID))
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantWords fails unless the text has all the words.
func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}
