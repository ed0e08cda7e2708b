// Package embeddedtest gives tests a server that loses what came last.
package embeddedtest

import (
	"net/url"
	"os"
	"testing"

	"netlab-runner/internal/bus/embedded"
)

// Store is a server whose store can be made what it was.
type Store struct {
	*embedded.Server
	t        *testing.T
	dir, was string
}

// NewStore runs a server until the test ends. What fill has put there it can be made to have again.
func NewStore(t *testing.T, fill func(s *embedded.Server)) *Store {
	t.Helper()
	s := &Store{t: t, dir: t.TempDir(), was: t.TempDir()}
	s.start("127.0.0.1:0")
	fill(s.Server)
	address := s.Address()
	s.Stop()
	if err := os.CopyFS(s.was, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.start(address)
	t.Cleanup(func() { s.Stop() })
	return s
}

func (s *Store) start(address string) {
	s.t.Helper()
	var err error
	if s.Server, err = embedded.Start(s.t.Context(), embedded.Config{Dir: s.dir, Listen: address}); err != nil {
		s.t.Fatal(err)
	}
}

// Address is where the server listens.
func (s *Store) Address() string {
	s.t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Host
}

// TurnBack starts the server anew with the streams as they were, as after a power cut that has taken what came last.
func (s *Store) TurnBack() {
	s.t.Helper()
	address := s.Address()
	s.Stop()
	s.dir = s.was
	s.start(address)
}
