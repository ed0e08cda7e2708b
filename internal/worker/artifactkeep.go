package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/artifact"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// keepLimits bound what is kept of one job.
type keepLimits struct {
	files    int
	oneFile  int64
	allFiles int64
	// time is for all of it, from when the bus has answered.
	time time.Duration
}

var jobKeepLimits = keepLimits{files: 1000, oneFile: 64 << 20, allFiles: 256 << 20, time: 5 * time.Minute} //nolint:gochecknoglobals // a table that is never written

// maxKeptNot is how many warnings a job has of files that could not be kept, one that counts the rest among them.
const maxKeptNot = 10

// keepFiles copies the files that the job's birth names into the store of objects, and says in the job what could not be. An
// error means that it is to be tried again: the worker stops. What an earlier worker has kept of the job stays as it is.
func (r *run) keepFiles(ctx context.Context) error {
	birth := r.entry.Birth
	if len(birth.Keep) == 0 || !r.ran {
		return nil
	}
	k := &keeper{
		worker: r.w, host: birth.Host, id: birth.ID, who: &r.scene.Who, dir: r.scene.Dir, patterns: birth.Keep,
		limits: jobKeepLimits,
	}
	list, err := k.keep(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.log.Warn("files not kept", "error", err)
		list = &bus.KeptList{Warnings: []string{fmt.Sprintf("nothing of NETLAB_API_KEEP was kept: %v", err)}}
	}
	r.keptNot = nil
	for _, warning := range list.Warnings {
		r.keptNot = append(r.keptNot, r.secrets.mask(warning))
	}
	r.kept = nil
	if len(list.Files) > 0 {
		r.kept = &jobs.Kept{Files: len(list.Files)}
		for _, f := range list.Files {
			r.kept.Bytes += f.Bytes
		}
	}
	return nil
}

// keeper copies the files of one job.
type keeper struct {
	worker   *Worker
	host, id string
	who      *account.Account
	dir      string
	patterns []string
	limits   keepLimits

	list bus.KeptList
	// room is how much more the store takes, total how much was copied.
	room, total int64
	// more counts the warnings for which there is no room.
	more int
}

func (k *keeper) keep(ctx context.Context) (*bus.KeptList, error) {
	b := k.worker.bus
	var before *bus.KeptList
	err := b.Retry(ctx, "kept files of job "+k.id, func(ctx context.Context) (err error) {
		before, err = b.KeptList(ctx, k.host, k.id)
		if errors.Is(err, bus.ErrNotFound) {
			// What a try before this one has left is not to be found by anybody.
			if err = b.PurgeKept(ctx, k.host, k.id); err == nil {
				k.room, err = b.KeptRoom(ctx)
			}
		}
		return err
	})
	if err != nil || before != nil {
		return before, err
	}
	timed, cancel := context.WithTimeout(ctx, k.limits.time)
	defer cancel()
	found, err := k.find(timed)
	if err != nil {
		return nil, err
	}
	for i := range found {
		k.take(timed, &found[i])
	}
	if k.more > 0 {
		k.list.Warnings = append(k.list.Warnings, fmt.Sprintf("%d more files of NETLAB_API_KEEP were not kept", k.more))
	}
	if len(k.list.Files) == 0 {
		return &k.list, nil
	}
	err = b.Retry(ctx, "list of kept files of job "+k.id, func(ctx context.Context) error {
		err := b.PutKeptList(ctx, k.host, k.id, &k.list)
		if errors.Is(err, bus.ErrFull) {
			return fmt.Errorf("the store of objects is full (NETLAB_BUS_OBJECTS_BYTES): %s", err.Error())
		}
		return err
	})
	if err != nil {
		_ = b.PurgeKept(ctx, k.host, k.id) // else the sweep does it
		return nil, err
	}
	return &k.list, nil
}

// find lists the files that the patterns name. There are none where there is no directory any more.
func (k *keeper) find(ctx context.Context) ([]artifact.File, error) {
	ctx, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	all, err := looked(ctx, k.worker.looks, k.dir, func() (list artifact.List, err error) {
		err = k.worker.inDir(k.who, k.dir, func(dir *os.Root) error {
			list = walk(ctx, dir, walkLimits)
			return nil
		})
		return list, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []artifact.File
	for _, f := range all.Files {
		if artifact.Matches(k.patterns, f.Path) {
			found = append(found, f)
		}
	}
	if all.Truncated {
		k.warn("%s has more files than are looked at, and NETLAB_API_KEEP may name some of those", k.dir)
	}
	return found, nil
}

// take copies one file, or says why it does not.
func (k *keeper) take(ctx context.Context, f *artifact.File) {
	most := min(k.limits.oneFile, k.limits.allFiles-k.total, k.room)
	switch {
	case ctx.Err() != nil:
		k.not(f, "there was no time left for it, of %s in all", k.limits.time)
		return
	case len(k.list.Files) == k.limits.files:
		k.not(f, "a job keeps at most %d files", k.limits.files)
		return
	case f.Bytes > k.limits.oneFile:
		k.not(f, "it has %d bytes, and at most %d are kept of a file", f.Bytes, k.limits.oneFile)
		return
	case k.total+f.Bytes > k.limits.allFiles:
		k.not(f, "with it the job's files would have more than %d bytes", k.limits.allFiles)
		return
	case f.Bytes > k.room:
		k.not(f, "the store of objects has no room for it: files are kept as long as less than half of NETLAB_BUS_OBJECTS_BYTES is taken")
		return
	}
	kept, err := looked(ctx, k.worker.looks, k.dir, func() (*bus.KeptFile, error) { return k.copy(ctx, f.Path, most) })
	switch {
	case errors.Is(err, bus.ErrFull):
		k.room = 0
		k.not(f, "the store of objects is full (NETLAB_BUS_OBJECTS_BYTES)")
	case errors.Is(err, fs.ErrPermission):
		k.not(f, "user %s may not read it", k.who.Name)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errMoving):
		k.not(f, "it was changed while it was copied")
	case err != nil:
		k.not(f, "%v", err)
	default:
		k.list.Files = append(k.list.Files, *kept)
		k.total += kept.Bytes
		k.room -= kept.Bytes
	}
}

// errMoving is a file that is being written.
var errMoving = errors.New("the file was changed while it was copied")

// copy stores one file of at most so many bytes. It may go on after its caller has given it up: then it stores pieces that no
// list names.
func (k *keeper) copy(ctx context.Context, path string, most int64) (*bus.KeptFile, error) {
	var file *os.File
	err := k.worker.inDir(k.who, k.dir, func(dir *os.Root) (err error) {
		file, err = regular(dir, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	head, err := headOf(file)
	if err != nil {
		return nil, err
	}
	if head.Bytes > most {
		return nil, errMoving // it has grown since it was found
	}
	kept := &bus.KeptFile{Path: path, Bytes: head.Bytes, Modified: head.Modified, ETag: head.ETag, Token: bus.NewKeptToken()}
	n, err := k.worker.bus.PutKept(ctx, k.host, k.id, kept.Token, file, head.Bytes)
	if err != nil {
		return nil, err
	}
	if after, err := headOf(file); err != nil || after != head || n != head.Bytes {
		return nil, errors.Join(errMoving, err)
	}
	return kept, nil
}

// not says why a file is not kept.
func (k *keeper) not(f *artifact.File, format string, args ...any) {
	name := f.Path
	if len(name) > 200 {
		name = "…" + strings.ToValidUTF8(name[len(name)-200:], "")
	}
	k.warn("%s was not kept (NETLAB_API_KEEP): %s", name, fmt.Sprintf(format, args...))
}

func (k *keeper) warn(format string, args ...any) {
	if len(k.list.Warnings) >= maxKeptNot-1 {
		k.more++
		return
	}
	k.list.Warnings = append(k.list.Warnings, fmt.Sprintf(format, args...))
}
