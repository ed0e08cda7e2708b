package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OwnerOf returns the number of the user who owns the path, or its nearest parent that exists. A symlink counts as itself.
func OwnerOf(path string) (uid int, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, fmt.Errorf("looking for the owner of %s: %w", path, err)
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
		if missing && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("looking for the owner of %s: %w", path, err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, fmt.Errorf("looking for the owner of %s: the system does not say whose %s is", path, at)
		}
		return int(stat.Uid), nil
	}
}
