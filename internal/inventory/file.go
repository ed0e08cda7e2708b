package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of files of other people's.
const (
	largestStatus   = 4 << 20
	largestTopology = 1 << 20
	// lockPatience is how long a status file's lock is waited for. Netlab holds it for some hundredths of a second.
	lockPatience = 2 * time.Second
	// writePatience is how long a file that is being written is read again: Netlab needs some 20 ms from truncating to writing.
	writePatience = time.Second
	pause         = 20 * time.Millisecond
)

// open opens a regular file for reading. It waits for no other end of a pipe and starts no device.
func open(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// readFile reads a regular file of at most so many bytes.
func readFile(path string, most int64) ([]byte, fs.FileInfo, error) {
	file, info, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > most {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return data, info, nil
}

// shareLock holds the lock of a status file as a reader until release is called. It never makes the lock file, which would be
// the wrong user's, and goes without the lock where there is none or it is held for too long.
func shareLock(path string) (release func()) {
	file, _, err := open(path)
	if err != nil {
		return func() {}
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(pause) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return func() { _ = file.Close() }
		}
	}
}

// readStatus returns the entries of a status file by their key, also of one that is being written right now. One that is
// empty for good, which an interrupted Netlab leaves, has none, as Netlab reads it. fs.ErrNotExist: there is no such file.
func readStatus(path string) (map[string]any, fs.FileInfo, error) {
	for begin := time.Now(); ; time.Sleep(pause) {
		release := shareLock(path + ".lock")
		data, info, err := readFile(path, largestStatus)
		release()
		if err != nil {
			return nil, nil, err
		}
		value, err := parse(data)
		entries, ok := value.(map[string]any)
		switch {
		case ok:
			return entries, info, nil
		case err == nil && value != nil:
			err = errors.New("it holds no map")
		}
		// Who truncates it now writes it in a moment; what was so before stays so.
		settled := time.Since(info.ModTime()) > 2*writePatience
		if settled || time.Since(begin) > writePatience {
			if err != nil {
				err = fmt.Errorf("Netlab's status file %s cannot be read: %w; `netlab status --reset` makes a new one", path, err) //nolint:staticcheck // it begins with a name
			}
			return nil, info, err
		}
	}
}
