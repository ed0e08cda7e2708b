// Package dirlock keeps a data directory to one process.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is a directory that another process holds.
var ErrInUse = errors.New("the directory is in use")

// Lock is held until Release, or until the process ends, however that comes about.
type Lock struct{ file *os.File }

// patience is how long Take waits for another process. One that was killed may have left a child between fork and exec, which
// has the lock for that moment.
const patience = 2 * time.Second

// Take locks the directory by its file "lock", which it makes where it is missing. ErrInUse: another process holds it, and has
// done so for 2 s.
func Take(dir string) (*Lock, error) {
	file, err := os.OpenFile(filepath.Join(filepath.Clean(dir), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), file.Close())
	}
	return &Lock{file: file}, nil
}

// Release gives the directory up.
func (l *Lock) Release() { _ = l.file.Close() }
