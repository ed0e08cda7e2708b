package worker

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/artifact"
)

// limits bound a walk.
type limits struct {
	// entries are looked at, files listed at most, depth is how many directories lie below each other.
	entries, files, depth int
	// names is how many bytes all paths may have.
	names int
}

var walkLimits = limits{entries: 200_000, files: 20_000, depth: 32, names: 2 << 20} //nolint:gochecknoglobals // a table that is never written

// walker is one walk under way.
type walker struct {
	ctx    context.Context
	dir    *os.Root
	limits limits
	list   artifact.List
	// waiting are the directories that are still to be read.
	waiting []folder
}

type folder struct {
	path  string
	depth int
}

// walk lists the regular files below dir, by path. It follows no symlink and opens nothing but directories. What cannot be read
// is passed over, as are names that are not UTF-8, which no client could ask for. Where a bound or the end of ctx cuts it
// short, what lies higher up is there before what lies deeper.
func walk(ctx context.Context, dir *os.Root, l limits) artifact.List {
	w := &walker{ctx: ctx, dir: dir, limits: l, list: artifact.List{Files: []artifact.File{}}, waiting: []folder{{path: "."}}}
	for len(w.waiting) > 0 && !w.list.Truncated {
		next := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.read(next)
	}
	slices.SortFunc(w.list.Files, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	return w.list
}

func (w *walker) read(at folder) {
	if w.ctx.Err() != nil {
		w.list.Truncated = true
		return
	}
	dir, err := w.dir.OpenFile(at.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // not there any more, or not for this user
	}
	defer func() { _ = dir.Close() }()
	for {
		names, err := dir.Readdirnames(500)
		for _, name := range names {
			w.look(dir, at, name)
			if w.list.Truncated {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				w.list.Truncated = true
			}
			return
		}
	}
}

func (w *walker) look(dir *os.File, at folder, name string) {
	w.limits.entries--
	if w.limits.entries < 0 || w.ctx.Err() != nil {
		w.list.Truncated = true
		return
	}
	var stat unix.Stat_t
	if !utf8.ValidString(name) || unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT) != nil {
		return
	}
	below := path.Join(at.path, name)
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if at.depth+1 >= w.limits.depth {
			w.list.Truncated = true
			return
		}
		w.waiting = append(w.waiting, folder{below, at.depth + 1})
	case unix.S_IFREG:
		w.limits.names -= len(below)
		if len(w.list.Files) == w.limits.files || w.limits.names < 0 {
			w.list.Truncated = true
			return
		}
		w.list.Files = append(w.list.Files, artifact.File{
			Path: below, Bytes: stat.Size, ModifiedAt: time.Unix(stat.Mtim.Unix()).UTC().Truncate(time.Second), Type: artifact.TypeOf(name),
		})
	}
}
