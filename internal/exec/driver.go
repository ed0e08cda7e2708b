package exec

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"netlab-runner/internal/durable"
)

//go:embed driver/*.py
var driverFiles embed.FS

// installDriver puts the driver below dataDir, in a folder named after its content, and returns the path of its main.py.
// A driver of that content which is there already stays: a run of an earlier worker may be using it.
func installDriver(dataDir string) (string, error) {
	contents, version, err := embeddedDriver()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(dataDir, "driver")
	folder := filepath.Join(parent, version)
	main := filepath.Join(folder, "main.py")
	if _, err := os.Stat(main); err == nil {
		return main, nil
	}
	// A run as another user reads the driver, so it is readable to all; what is secret is elsewhere.
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("installing the driver: %w", err)
	}
	draft, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return "", fmt.Errorf("installing the driver: %w", err)
	}
	defer os.RemoveAll(draft)
	for name, content := range contents {
		if err := writeSynced(filepath.Join(draft, name), content, 0o644); err != nil {
			return "", fmt.Errorf("installing the driver: %w", err)
		}
	}
	if err := errors.Join(os.Chmod(draft, 0o755), durable.SyncDir(draft)); err != nil {
		return "", fmt.Errorf("installing the driver: %w", err)
	}
	// Another process may have been faster; then the folder is there and not empty.
	if err := os.Rename(draft, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("installing the driver: %w", err)
	}
	return main, nil
}

// embeddedDriver returns its files, by their names, and what tells it from another one.
func embeddedDriver() (contents map[string][]byte, version string, err error) {
	files, err := fs.Glob(driverFiles, "driver/*.py")
	if err != nil {
		return nil, "", fmt.Errorf("reading the embedded driver: %w", err)
	}
	sum := sha256.New()
	contents = make(map[string][]byte, len(files))
	for _, name := range files { // in the order of their names
		content, err := driverFiles.ReadFile(name)
		if err != nil {
			return nil, "", fmt.Errorf("reading the embedded driver: %w", err)
		}
		contents[filepath.Base(name)] = content
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
	}
	return contents, hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// RemoveOldDrivers removes the drivers of other versions of this program from below dataDir. No run may be under way: it may be one
// of theirs.
func RemoveOldDrivers(dataDir string) error {
	_, version, err := embeddedDriver()
	if err != nil {
		return err
	}
	parent := filepath.Join(dataDir, "driver")
	folders, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range folders {
		if f.Name() != version {
			err = errors.Join(err, os.RemoveAll(filepath.Join(parent, f.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("removing old drivers: %w", err)
	}
	return nil
}

// writeSynced writes a file that must not exist yet and returns when it is on the disk.
func writeSynced(name string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// linkSynced makes a file that is complete from its first moment, and on the disk when this returns. One that is there stays.
func linkSynced(dir, name string, content []byte) error {
	draft, err := os.CreateTemp(dir, name+".")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(content)
	// The job's user reads it where the directory lets that user in.
	if err := errors.Join(err, draft.Chmod(0o644), draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(dir)
}
