// Package logfile keeps the logs of all jobs as files, one a job: written in order by one process, read by any number of
// followers.
package logfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/jobs"
)

// Store is a directory of logs. Its methods and those of its Logs may be called from any goroutine. No other process may
// write to the directory.
type Store struct {
	dir string

	// mu is held for no disk.
	mu   sync.Mutex
	logs map[string]*Log
	// removing has the removals that are under way, by the log's id.
	removing map[string]<-chan struct{}
	open     int // files kept open by live logs
	closed   bool
}

// maxOpen bounds the files that live logs keep open. Logs beyond it open their file anew for each operation.
const maxOpen = 256

// Open returns the store of dir, which it makes, with mode 0700, where it is missing.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, logs: make(map[string]*Log), removing: make(map[string]<-chan struct{})}
	return s, s.makeDir()
}

func (s *Store) makeDir() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the logs: %w", err)
	}
	return nil
}

// Path returns the file of the job's log, whether it exists or not; "" for what cannot be the id of a job.
func (s *Store) Path(id string) string {
	if !jobs.ValidID(id) {
		return ""
	}
	return filepath.Join(s.dir, id+suffix)
}

// suffix ends the names of the files.
const suffix = ".log"

// Unchanged are the ids of the logs of which files are there, and to which nothing was written since then.
func (s *Store) Unchanged(since time.Time) ([]string, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the logs: %w", err)
	}
	var ids []string
	for _, f := range files {
		id, isLog := strings.CutSuffix(f.Name(), suffix)
		if !isLog || !jobs.ValidID(id) {
			continue
		}
		if info, err := f.Info(); err == nil && info.ModTime().Before(since) { // else it is gone already
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Get returns the log of the job, the same one each time until Remove. It touches no file, and a log at rest takes some 200
// bytes and no open file; but it stays, so ask for jobs that exist. It is never nil: the methods of a log whose id cannot be
// one, or whose store is closed, return errors.
func (s *Store) Get(id string) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(id)
}

// get needs mu.
func (s *Store) get(id string) *Log {
	if l := s.logs[id]; l != nil {
		return l
	}
	l := &Log{store: s, id: id}
	switch {
	case !jobs.ValidID(id):
		l.gone = fmt.Errorf("log of job %q: %w", id, ErrInvalidID)
	case s.closed:
		l.gone = l.wrap(ErrClosed)
	default:
		l.removing = s.removing[id]
		l.loaded = l.removing != nil
		s.logs[id] = l
	}
	return l
}

// Remove deletes the log of the job, if there is one. Whoever still reads or follows it gets ErrRemoved; the next Get is a
// new, empty log.
func (s *Store) Remove(id string) error { return s.Detach(id)() }

// Detach is the part of Remove that waits for no disk: the log is out of the store. The rest is to be called once, from wherever it
// may wait. The next log of the id waits for it before it is written to.
func (s *Store) Detach(id string) (remove func() error) {
	removed := make(chan struct{})
	s.mu.Lock()
	l := s.get(id)
	mine := s.logs[id] == l // not of what no job has, nor of a closed store
	if mine {
		delete(s.logs, id)
		s.removing[id] = removed
	}
	s.mu.Unlock()
	if !mine {
		return l.isGone
	}
	f := l.retire(ErrRemoved)
	return func() error {
		defer func() {
			s.mu.Lock()
			if s.removing[id] == removed {
				delete(s.removing, id)
			}
			s.mu.Unlock()
			close(removed)
		}()
		_ = f.Close()    // WriteAt has reported what went wrong; none is no harm
		l.writing.Lock() // not before who is about to open the file
		defer l.writing.Unlock()
		l.awaitRemoval()
		if err := os.Remove(s.Path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the log of job %s: %w", id, err)
		}
		return nil
	}
}

// Close closes every file. Whoever still reads or follows a log gets ErrClosed. It always returns nil.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	logs := s.logs
	s.logs = nil
	s.mu.Unlock()
	for _, l := range logs {
		_ = l.retire(ErrClosed).Close() // WriteAt has reported what went wrong; none is no harm
	}
	return nil
}

// Rest closes the files that are kept open. The next Append to one of the logs opens its own again.
func (s *Store) Rest() {
	s.mu.Lock()
	logs := slices.Collect(maps.Values(s.logs))
	s.mu.Unlock()
	for _, l := range logs {
		l.mu.Lock()
		l.letGo()
		l.mu.Unlock()
	}
}

// keep says whether one more file may stay open; release gives that back.
func (s *Store) keep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxOpen {
		return false
	}
	s.open++
	return true
}

func (s *Store) release() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
}
