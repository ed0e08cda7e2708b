package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
		return fmt.Errorf("%s: cannot make the directory: %w: name one that this user can write", setting, err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("%s: cannot write there: %w: name a directory that this user can write", setting, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("%s: cannot write there: %w: name a directory that this user can write", setting, err)
	}
	return nil
}
