package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/artifact"
)

// clockTick is what the kernel's clock for files takes from one value to the next, at the slowest: two changes of a file that
// are closer together may leave the same time.
const clockTick = 20 * time.Millisecond

// regular opens a regular file below dir for reading. fs.ErrNotExist: there is none. Nothing else is opened, not even to find
// out what it is: a pipe would wake its writer.
func regular(dir *os.Root, path string) (*os.File, error) {
	// A handle on whatever it is, a symlink too, that opens nothing yet.
	handle, err := dir.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, notThere(err)
	}
	defer func() { _ = handle.Close() }()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, fs.ErrNotExist)
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", handle.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// notThere makes fs.ErrNotExist of what says that a path leads to no file below the directory.
func notThere(err error) error {
	var number unix.Errno
	switch known := errors.As(err, &number); {
	case !known, // a symlink on the way that leads out of the directory
		number == unix.ENOTDIR, number == unix.ENAMETOOLONG, number == unix.ELOOP:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	default:
		return err
	}
}

// stamp tells one content of a file from another: it is the file's number, length and times. A file that was changed within
// the last tick of the clock is looked at again after it, so that a later change makes another stamp.
func stamp(file *os.File) (stat unix.Stat_t, tag string, err error) {
	for range 2 {
		if err = unix.Fstat(int(file.Fd()), &stat); err != nil {
			return stat, "", fmt.Errorf("stat: %w", err)
		}
		age := time.Since(time.Unix(stat.Ctim.Unix()))
		if age < 0 || age >= clockTick {
			break
		}
		time.Sleep(clockTick - age)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d.%d %d.%d", stat.Ino, stat.Size, stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec))
	return stat, hex.EncodeToString(sum[:12]), nil
}

// headOf is the head of the pieces of a file as it is now.
func headOf(file *os.File) (artifact.Head, error) {
	stat, tag, err := stamp(file)
	if err != nil {
		return artifact.Head{}, err
	}
	return artifact.Head{Status: artifact.Found, ETag: tag, Bytes: stat.Size, Modified: time.Unix(stat.Mtim.Unix()).UTC()}, nil
}

// readPiece reads what a question asks for. fs.ErrNotExist, fs.ErrPermission: as of any file.
func readPiece(dir *os.Root, q *artifact.Question) (artifact.Head, []byte, error) {
	path, err := artifact.Clean(q.Path)
	if err != nil {
		return artifact.Head{}, nil, invalid("path", "%v", err)
	}
	file, err := regular(dir, path)
	if err != nil {
		return artifact.Head{}, nil, err
	}
	defer func() { _ = file.Close() }()
	head, err := headOf(file)
	if err != nil {
		return head, nil, err
	}
	if q.ETag != "" && q.ETag != head.ETag {
		return artifact.Head{Status: artifact.Changed}, nil, nil
	}
	data := make([]byte, min(int64(q.Length), max(head.Bytes-q.Offset, 0)))
	if len(data) == 0 {
		return head, nil, nil
	}
	_, err = file.ReadAt(data, q.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return head, nil, err
	}
	// What was read is of the file that the head tells of, or of none.
	if after, err := headOf(file); err != nil || after != head {
		return artifact.Head{Status: artifact.Changed}, nil, err
	}
	return head, data, nil
}
