package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// sparesMost is how many spares are kept: more than this many jobs seldom come and end at the same time.
const sparesMost = 100

// spares are directories of jobs that the journal has forgotten, with the files of the request and of the scene, empty. The next jobs get
// them: to make and remove these for each job, and to sync them, takes longer than most of what a worker does for it.
//
// An output or a directory of a run is never used again: a process that a job has left may have it open.
type spares struct {
	dir string

	mu sync.Mutex
	// ready may be used, fresh once the disk has what the journal's folder is without them: else a power cut could bring a job back
	// that has the request of another one.
	ready, fresh []string
}

// openSpares begins without any: what an earlier worker has left may not have been emptied.
func openSpares(dir string) (*spares, error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("spares: %w", err)
	}
	return &spares{dir: dir}, nil
}

// take moves a job's directory out of the journal. It returns its new place, empty where it stays: because there are spares enough, or
// the journal's folder is on another disk, say.
func (s *spares) take(dir string) string {
	s.mu.Lock()
	enough := len(s.ready)+len(s.fresh) >= sparesMost
	s.mu.Unlock()
	spare := filepath.Join(s.dir, filepath.Base(dir))
	if enough || os.Rename(dir, spare) != nil {
		return ""
	}
	return spare
}

// put empties a directory that was taken, and keeps it.
func (s *spares) put(spare string) error {
	if err := strip(spare); err != nil {
		return os.RemoveAll(spare)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = append(s.fresh, spare)
	return nil
}

// strip leaves the files of the request and of the scene alone, empty: the request may have what is nobody's business once its job is
// over. An error says that the directory is none to be used again.
func strip(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	whole := false
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch keep := f.Name() == requestFile || f.Name() == sceneFile; {
		case keep && isOwn(path):
			whole = whole || f.Name() == requestFile
			err = os.Truncate(path, 0)
		default:
			err = os.RemoveAll(path)
		}
		if err != nil {
			return err
		}
	}
	if !whole {
		return fmt.Errorf("%s: %w", requestFile, fs.ErrNotExist)
	}
	return nil
}

// isOwn says whether the path is a file that has no other name: such a one may be somebody's backup.
func isOwn(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 1
}

// settle calls sync, which syncs the journal's folder: none that was taken before is in it any more.
func (s *spares) settle(sync func() error) error {
	s.mu.Lock()
	taken := s.fresh
	s.fresh = nil
	s.mu.Unlock()
	err := sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fresh = append(s.fresh, taken...)
		return err
	}
	s.ready = append(s.ready, taken...)
	return nil
}

// use makes dir of a spare, with the request on the disk, and says whether it could: there may be none. The folder that dir is in is
// still to be synced.
func (s *spares) use(dir string, request []byte) bool {
	spare := s.next()
	if spare == "" {
		return false
	}
	err := overwrite(filepath.Join(spare, requestFile), request)
	if err == nil {
		err = os.Rename(spare, dir)
	}
	if err != nil {
		_ = os.RemoveAll(spare) // else the next worker does
	}
	return err == nil
}

func (s *spares) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.ready) - 1
	if last < 0 {
		return ""
	}
	spare := s.ready[last]
	s.ready = s.ready[:last]
	return spare
}

// overwrite makes data the content of a file that is there, on the disk when it returns. A crash may leave anything in it.
func overwrite(file string, data []byte) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
