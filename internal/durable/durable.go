// Package durable replaces files so that a crash leaves the old or the new one, and never a part.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces file by one that holds data, readable by its owner alone, and on the disk when it returns: a crash leaves the old or the
// new one.
func Write(file string, data []byte) error {
	if err := replace(file, data, true); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(file))
}

// Replace is Write for what may be lost: a crash of this program leaves the old file or the new one, one of the machine an empty one too.
func Replace(file string, data []byte) error { return replace(file, data, false) }

func replace(file string, data []byte, synced bool) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err == nil && synced {
		err = temporary.Sync()
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// SyncDir returns when the names in a directory are on the disk.
func SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Probe says whether files can be made in a directory.
func Probe(dir string) error {
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
