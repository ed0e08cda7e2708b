package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"netlab-runner/internal/dirlock"
	"netlab-runner/internal/durable"
	"netlab-runner/internal/hosts"
)

// dataDir is the worker's directory, locked against a second worker.
type dataDir struct {
	identity string
	lock     *dirlock.Lock
}

func openDataDir(dir string) (*dataDir, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("NETLAB_WORKER_DATA_DIR: %w; name a directory that can be written", err)
	}
	lock, err := dirlock.Take(dir)
	if errors.Is(err, dirlock.ErrInUse) {
		return nil, fmt.Errorf("NETLAB_WORKER_DATA_DIR %s is used by another worker; give each one a directory of its own", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("NETLAB_WORKER_DATA_DIR: %w; name a directory that can be written", err)
	}
	d := &dataDir{lock: lock}
	if d.identity, err = loadOrMakeIdentity(filepath.Join(dir, "identity")); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *dataDir) close() { d.lock.Release() }

func loadOrMakeIdentity(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err == nil && len(text) > 0 { // one that a fault of the disk has emptied is as none
		if identity := strings.TrimSpace(string(text)); uuid.Validate(identity) == nil {
			return identity, nil
		}
		return "", fmt.Errorf("%s does not hold an identity; put the old one back, or remove it to have a new one made: "+
			"the journal's jobs stay this worker's, and the host's name is its own when the old one's lease is over", file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("identity: %w", err)
	}
	identity := uuid.NewString()
	if err := durable.Write(file, []byte(identity+"\n")); err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	return identity, nil
}

// keepHost keeps the host's name in file. Under another one than before, the jobs of the journal would be another worker's for the
// bus, so a worker that has any keeps its name.
func keepHost(file, host string, j *journal) error {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("host: %w", err)
	}
	before := strings.TrimSpace(string(text))
	if before == host {
		return nil
	}
	if hosts.ValidName(before) == nil {
		held, err := j.holds()
		if err != nil {
			return err
		}
		if held {
			return fmt.Errorf("NETLAB_WORKER_HOST is %s, and NETLAB_WORKER_DATA_DIR has jobs of host %s: set NETLAB_WORKER_HOST=%s until they have ended, "+
				"or name another directory", host, before, before)
		}
	}
	if err := durable.Write(file, []byte(host+"\n")); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	return nil
}
