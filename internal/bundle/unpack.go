package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// temporaryPrefix begins the names under which files are written before they take their places.
const temporaryPrefix = ".netlab-bundle-"

// found is what a bundle has been read to hold.
type found struct {
	entry
	size int64
	sum  [sha256.Size]byte
}

// scan reads the whole bundle.
func scan(data []byte, l Limits) ([]found, error) {
	var all []found
	files := 0
	err := read(data, l, func(e entry, content io.Reader) error {
		f := found{entry: e}
		if !e.dir {
			sum, size, err := digest(content)
			if err != nil {
				return err
			}
			f.sum, f.size = sum, size
			files++
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if files == 0 {
		return nil, refuse("", "the bundle has no files in it: pack the lab's directory")
	}
	return all, nil
}

func digest(r io.Reader) (sum [sha256.Size]byte, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(h, r)
	return [sha256.Size]byte(h.Sum(nil)), size, err
}

// Unpack writes the bundle's files below dir and returns their paths, sorted. Nothing is written of a bundle that Check
// refuses, or that does not fit onto what is there: no file becomes a directory or a directory a file, and no symlink in
// dir is followed. Such an error is a *Refusal; any other one is the disk's.
//
// Every file is written beside its place first and renamed when all of them are, so that a full disk changes no file of the
// lab. A file with the same content is left as it is, with its time. What the bundle does not name stays. One Unpack at a time
// may work in a directory.
func Unpack(data []byte, dir *os.Root, l Limits) (files []string, err error) {
	all, err := scan(data, l)
	if err != nil {
		return nil, err
	}
	t := &target{root: dir}
	differs := make(map[string]string) // the temporary names of what is to be written, by path
	for i, f := range all {
		same, err := t.look(f)
		if err != nil {
			return nil, err
		}
		if !f.dir {
			files = append(files, f.path)
		}
		if !same {
			differs[f.path] = temporaryPrefix + strconv.Itoa(i)
		}
	}
	slices.Sort(files)
	defer func() {
		if err != nil {
			t.undo()
		}
	}()
	err = read(data, l, func(e entry, content io.Reader) error {
		temporary, ok := differs[e.path]
		switch {
		case !ok:
			return nil
		case e.dir:
			return t.within(e.path, true, func(*os.Root) error { return nil })
		}
		return t.stage(e, temporary, content)
	})
	if err != nil {
		return nil, err
	}
	if err := t.commit(); err != nil {
		return nil, err
	}
	return files, nil
}

// target is the directory that is unpacked into.
type target struct {
	root *os.Root
	// swept are the directories in which nothing is left of an Unpack that was killed.
	swept map[string]bool
	// made are the directories that were made, staged the files that wait for their place.
	made   []string
	staged []staged
}

// staged is a file under its temporary name.
type staged struct{ path, temporary string }

// within calls f with the directory p, in which it goes through no symlink. Where one is missing, it is made or the error is
// fs.ErrNotExist.
func (t *target) within(p string, makes bool, f func(*os.Root) error) error {
	at, below := t.root, ""
	defer func() {
		if at != t.root {
			_ = at.Close()
		}
	}()
	if p == "." {
		return f(at)
	}
	for element := range strings.SplitSeq(p, "/") {
		below = path.Join(below, element)
		next, err := enter(at, element, below)
		if errors.Is(err, fs.ErrNotExist) && makes {
			if err := at.Mkdir(element, 0o755); err != nil {
				return failed(below, err)
			}
			t.made = append(t.made, below)
			if next, err = enter(at, element, below); err == nil {
				err = next.Chmod(".", 0o755) // whatever the umask is
			}
		}
		if err != nil {
			if next != nil {
				_ = next.Close()
			}
			return err
		}
		if at != t.root {
			_ = at.Close()
		}
		at = next
	}
	return f(at)
}

// enter opens a directory that is none by way of a symlink, whoever changes names meanwhile.
func enter(at *os.Root, element, below string) (*os.Root, error) {
	info, err := at.Lstat(element)
	switch {
	case err != nil:
		return nil, failed(below, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, refuse(below, "is a symbolic link in the working directory, which no bundle is unpacked through: remove it there, or leave out what lies in it")
	case !info.IsDir():
		return nil, refuse(below, "is a directory in the bundle and a file in the working directory: remove that, or rename one of them")
	}
	next, err := at.OpenRoot(element)
	if err != nil {
		return nil, failed(below, err)
	}
	if opened, err := next.Stat("."); err != nil || !os.SameFile(info, opened) {
		_ = next.Close()
		return nil, failed(below, errors.New("it was replaced a moment ago"))
	}
	return next, nil
}

func failed(p string, err error) error { return fmt.Errorf("unpack %s: %w", shown(p), err) }
