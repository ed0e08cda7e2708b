package exec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readTries and readPause are how often, and after what pause, a file of a run is read that cannot be.
	readTries = 5
	readPause = 100 * time.Millisecond
)

// readRunFile reads a file of a run's directory. fs.ErrNotExist: there is none. ErrUnreadable: there is something else than a
// file, or one that cannot be read however often. Another error passes: this process has too many files open, say.
func readRunFile(name string) (content []byte, err error) {
	for range readTries {
		content, err = readRegular(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnreadable) {
			return content, err
		}
		time.Sleep(readPause)
	}
	if isShort(err) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
}

// isShort says that an error is of what this process, or the machine, has too little of for now: it says nothing about what was asked for.
func isShort(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func readRegular(name string) ([]byte, error) {
	file, err := openRunFile(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// openRunFile opens a file of a run's directory. ErrUnreadable: there is something else than a file.
func openRunFile(name string) (*os.File, error) {
	// A pipe would be waited for, and a link may lead to one.
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is no regular file", ErrUnreadable, name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
