package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/internal/jobs"
)

// scratchDir is where a validate puts the topology or the bundle that came with it: the lab's own directory is not touched.
const scratchDir = "scratch"

// scratch makes a directory of the lab's name that holds what came with the job. Beside a topology it has links to all that
// the lab's directory has, since a topology may include and use its neighbours; a bundle is a whole lab. Nothing is written
// through the links: the driver works in a copy of what they lead to.
func (r *run) scratch(job *jobs.Job, who *account.Account, m *material) (*place, error) {
	top := filepath.Join(r.entry.dir, scratchDir)
	if err := os.RemoveAll(top); err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	path := filepath.Join(top, filepath.Base(job.Workdir))
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	if who.Credential() != nil {
		if err := os.Chown(path, who.UID, who.GID); err != nil {
			return nil, fmt.Errorf("scratch directory: %w", err)
		}
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	defer func() { _ = dir.Close() }()
	p := &place{dir: path}
	err = who.Do(func() error {
		if m.bundle == nil {
			if err := r.w.linkNeighbours(dir, job); err != nil {
				return err
			}
		}
		if p.file, err = dir.Open("."); err != nil {
			return fmt.Errorf("scratch directory: %w", err)
		}
		return fill(dir, p, job, who, m)
	})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// linkNeighbours makes a link in dir to everything in the job's working directory, if there is one.
func (w *Worker) linkNeighbours(dir *os.Root, job *jobs.Job) error {
	root, rel, err := w.within("workdir", job.Workdir, false)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	lab, err := openDir(root, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return invalid("workdir", "%s cannot be read: %v", job.Workdir, err)
	}
	defer func() { _ = lab.Close() }()
	names, err := lab.Readdirnames(-1)
	if err != nil {
		return invalid("workdir", "%s cannot be read: %v", job.Workdir, err)
	}
	for _, name := range names {
		if name == topologyFile {
			continue
		}
		if err := dir.Symlink(filepath.Join(root.Name(), rel, name), name); err != nil {
			return fmt.Errorf("scratch directory: %w", err)
		}
	}
	return nil
}

// openDir opens a directory below the root for reading. Unlike root.Open it waits for no pipe that is in its place.
func openDir(root *os.Root, rel string) (*os.File, error) {
	return root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
}
