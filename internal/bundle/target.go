package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// look says whether the file or directory is there already, and refuses what cannot take its place.
func (t *target) look(f found) (same bool, err error) {
	parent, name := path.Split(f.path)
	if f.dir {
		err := t.within(f.path, false, func(*os.Root) error { return nil })
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return true, err
	}
	parent = path.Clean(parent)
	err = t.within(parent, false, func(at *os.Root) error {
		if err := t.sweep(at, parent); err != nil {
			return err
		}
		info, err := at.Lstat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return refuse(f.path, "is a file in the bundle and a directory in the working directory: remove that, or rename one of them")
		case info.Mode()&fs.ModeSymlink != 0: // replaced, and not what it points to
			return nil
		case !info.Mode().IsRegular():
			return refuse(f.path, "is a device, FIFO or socket in the working directory: remove it there")
		}
		same = info.Size() == f.size && (!f.executable || info.Mode()&0o100 != 0) && holds(at, name, info, f)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return same, err
}

// holds says whether the file has the content. One that cannot be read has another.
func holds(at *os.Root, name string, info fs.FileInfo, f found) bool {
	file, err := at.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	if opened, err := file.Stat(); err != nil || !os.SameFile(info, opened) {
		return false
	}
	sum, size, err := digest(io.LimitReader(file, f.size+1))
	return err == nil && size == f.size && sum == f.sum
}

// sweep removes what an Unpack that was killed has left in a directory.
func (t *target) sweep(at *os.Root, p string) error {
	if t.swept[p] {
		return nil
	}
	if t.swept == nil {
		t.swept = make(map[string]bool)
	}
	t.swept[p] = true
	dir, err := at.Open(".")
	if err != nil {
		return failed(p, err)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return failed(p, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, temporaryPrefix) {
			if err := at.Remove(name); err != nil {
				return failed(path.Join(p, name), err)
			}
		}
	}
	return nil
}

// stage writes the file under its temporary name, beside its place.
func (t *target) stage(e entry, temporary string, content io.Reader) error {
	parent := path.Dir(e.path)
	mode := fs.FileMode(0o644)
	if e.executable {
		mode = 0o755
	}
	return t.within(parent, true, func(at *os.Root) error {
		file, err := at.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return failed(e.path, err)
		}
		t.staged = append(t.staged, staged{e.path, temporary})
		_, err = io.Copy(file, content)
		if err == nil {
			err = file.Chmod(mode) // whatever the umask is
		}
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return failed(e.path, err)
		}
		return nil
	})
}

// commit puts every staged file into its place.
func (t *target) commit() error {
	for len(t.staged) > 0 {
		s := t.staged[0]
		err := t.within(path.Dir(s.path), false, func(at *os.Root) error {
			if err := at.Rename(s.temporary, path.Base(s.path)); err != nil {
				return failed(s.path, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		t.staged = t.staged[1:]
	}
	return nil
}

// undo takes away what waits for its place and the directories that were made for it, as far as it can.
func (t *target) undo() {
	for _, s := range t.staged {
		_ = t.within(path.Dir(s.path), false, func(at *os.Root) error { return at.Remove(s.temporary) })
	}
	for _, p := range slices.Backward(t.made) {
		_ = t.within(path.Dir(p), false, func(at *os.Root) error { return at.Remove(path.Base(p)) }) // not one with something in it
	}
}
