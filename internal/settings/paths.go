package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"netlab-runner/internal/durable"
)

// absolute makes path absolute, so that it means the same whatever the working directory becomes. An empty one stays.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		// Without a working directory there is nothing that it could be relative to.
		return filepath.Clean(path)
	}
	return abs
}

func cleaned(paths []string) []string {
	for i, p := range paths {
		paths[i] = filepath.Clean(p)
	}
	return paths
}

// trimmed leaves out the spaces around the entries of a list, and entries that are empty.
func trimmed(list []string) []string {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// The modes of data directories that are made. Netlab, run as the user of a job, has to come through a worker's.
const (
	closed  fs.FileMode = 0o700
	passage fs.FileMode = 0o711
)

// makeDir makes a data directory where it is missing, and proves that it can be written.
func makeDir(setting, dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("%s: cannot make the directory: %w: %s", setting, err, remedyOf(err))
	}
	if err := durable.Probe(dir); err != nil {
		return fmt.Errorf("%s: cannot write there: %w: %s", setting, err, remedyOf(err))
	}
	return nil
}

// remedyOf is what helps where a directory cannot be made or written.
func remedyOf(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "mount its file system writable, or name a directory on another one"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on its disk, or name a directory on another one"
	default:
		return "name a directory that this user can write"
	}
}
