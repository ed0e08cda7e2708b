package worker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/internal/bundle"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// invalidError is a request that this host finds impossible before Netlab starts.
type invalidError struct{ text string }

func (e *invalidError) Error() string { return e.text }

func invalid(field, format string, args ...any) error {
	return &invalidError{text: field + ": " + fmt.Sprintf(format, args...)}
}

// place is a job's working directory, ready for Netlab.
type place struct {
	// dir is the real path, without symlinks.
	dir string
	// file is the opened directory: whatever happens to its path, Netlab runs in this one.
	file *os.File
	// topology is relative to dir, empty where the action needs none.
	topology string
	// multilab says that the topology may use Netlab's plugin multilab: the file has the word.
	multilab bool
	// absent says that there is no such directory; dir is then the root.
	absent bool
}

func (p *place) close() {
	if p != nil && p.file != nil {
		_ = p.file.Close()
	}
}

// multilab is Netlab's plugin that gives each lab of a host an id of its own.
const multilab = "multilab"

// topologyFile is where an inline topology is stored.
const topologyFile = "topology.yml"

// defaultTopologies are looked for in this order.
var defaultTopologies = []string{"netlab/topology.yml", "netlab/topology.yaml", "topology.yml", "topology.yaml"} //nolint:gochecknoglobals // a table that is never written

// starts says whether the action makes a lab out of a topology, and so needs a working directory, and makes one.
func starts(a jobs.Action) bool { return a == jobs.Up || a == jobs.Create || a == jobs.Restart }

// prepare checks what only the host can know and makes the working directory ready, with the rights of who the job runs as.
// make makes a directory that is not there for an action that would not. An *invalidError is the request's fault.
func (w *Worker) prepare(job *jobs.Job, who *account.Account, m *material, remake bool) (p *place, err error) {
	root, rel, err := w.within("workdir", job.Workdir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if starts(job.Action) && !m.empty() || remake {
		if err := makeFirst(root, rel, who, job.Workdir); err != nil {
			return nil, err
		}
	}
	err = who.Do(func() error {
		p, err = w.prepareAs(job, who, root, rel, m, remake)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (w *Worker) prepareAs(job *jobs.Job, who *account.Account, root *os.Root, rel string, m *material, remake bool) (*place, error) {
	makes := starts(job.Action)
	info, err := root.Stat(rel)
	switch {
	case err == nil && !info.IsDir():
		return nil, invalid("workdir", "%s is a file; name a directory", job.Workdir)
	case errors.Is(err, fs.ErrNotExist) && (makes || job.Action == jobs.Validate) && !remake && m.empty():
		return nil, invalid("topologyPath", "there is no directory %s, and so no topology in it: make it first, or send the topology itself as topology", job.Workdir)
	case makes || remake:
		if err := root.MkdirAll(rel, 0o755); err != nil {
			return nil, invalid("workdir", "%s cannot be made by %s: %v; check who owns its parent directories, or name another one", job.Workdir, who.Name, err)
		}
	}
	dir, err := root.OpenRoot(rel)
	if errors.Is(err, fs.ErrNotExist) {
		if job.Action == jobs.Collect {
			return nil, invalid("workdir", "lab not found, there is no directory %s", job.Workdir)
		}
		return &place{dir: root.Name(), absent: true}, nil
	}
	if err != nil {
		return nil, invalid("workdir", "%s cannot be opened by %s: %v; it must be a directory that this user can enter", job.Workdir, who.Name, err)
	}
	defer func() { _ = dir.Close() }()
	p := &place{dir: filepath.Join(root.Name(), rel)}
	// Not by its path, at which there may be another by now, or a pipe that is never opened.
	if p.file, err = dir.Open("."); err != nil {
		return nil, invalid("workdir", "%s cannot be read by %s: %v; change its owner or mode", job.Workdir, who.Name, err)
	}
	if err := fill(dir, p, job, who, m); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// fill puts what came with the job into its directory, and looks at what the action needs of it.
func fill(dir *os.Root, p *place, job *jobs.Job, who *account.Account, m *material) (err error) {
	stored, storing := store(dir, topologyFile, m.topology)
	if job.Action.Changes() && !stored {
		if err := checkWritable(dir); err != nil {
			return invalid("workdir", "%s cannot be written by %s: %v; change its owner or mode", job.Workdir, who.Name, err)
		}
	}
	if storing != nil {
		return invalid("topology", "it cannot be stored: %v", storing)
	}
	switch job.Action {
	case jobs.Up, jobs.Create, jobs.Restart, jobs.Validate:
		if m.bundle != nil {
			if _, err := bundle.Unpack(m.bundle, dir, bundle.DefaultLimits); err != nil {
				return refusedBundle(err)
			}
		}
		where := p.dir
		if job.Action == jobs.Validate && m.bundle != nil {
			where = "the bundle" // and not the scratch directory that it was unpacked into
		}
		if m.topology != "" {
			p.topology, p.multilab = topologyFile, strings.Contains(m.topology, multilab)
			return nil
		}
		p.topology, err = findTopology(dir, where, job)
		p.multilab = err == nil && mentions(dir, p.topology, multilab)
		return err
	case jobs.Collect:
		output, tarball := job.Request.Output(), job.Request.Tarball()
		if err := checkOutput(dir, output); err != nil {
			return err
		}
		if err := checkTar(dir, tarball, output); err != nil {
			return err
		}
		return makeParents(dir, map[string]string{"collectOutput": output, "collectTar": tarball})
	}
	return nil
}

// makeParents makes the directories that what is collected goes into: Netlab makes the last one alone, and tar none.
func makeParents(dir *os.Root, paths map[string]string) error {
	for field, path := range paths {
		if parent := filepath.Dir(path); parent != "." {
			if err := dir.MkdirAll(parent, 0o755); err != nil {
				return invalid(field, "%s cannot be made: %v", parent, err)
			}
		}
	}
	return nil
}

func refusedBundle(err error) error {
	var refusal *bundle.Refusal
	if errors.As(err, &refusal) {
		return invalid("bundle", "%v", err)
	}
	return invalid("bundle", "it cannot be unpacked: %v", err)
}

// checkWritable makes a file and removes it, where none was stored that shows it: what the modes say is not all that decides.
func checkWritable(dir *os.Root) error {
	const probe = ".netlab-runner-probe"
	file, err := create(dir, probe)
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), dir.Remove(probe))
}

// create makes a file of the worker's own, in the place of one that was left, or that somebody has put there: never through a
// symlink, and never a pipe.
func create(dir *os.Root, name string) (*os.File, error) {
	const anew = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	file, err := dir.OpenFile(name, anew, 0o644)
	if !errors.Is(err, fs.ErrExist) {
		return file, err
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return dir.OpenFile(name, anew, 0o644)
}

// makeFirst makes the first directory below a root that is root's own, for the job's user: only root can. It makes none that
// is called like another user.
func makeFirst(root *os.Root, rel string, who *account.Account, workdir string) error {
	if os.Geteuid() != 0 || who.UID == 0 {
		return nil
	}
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	if _, err := root.Lstat(first); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// In a root that others can write to, the user makes it, or cannot: they could put another directory in its place.
	info, err := root.Stat(".")
	if err != nil || info.Mode().Perm()&0o022 != 0 {
		return nil //nolint:nilerr // as above
	}
	owner, err := account.OwnerOf(root.Name())
	if err != nil || owner != 0 {
		return nil //nolint:nilerr // then the user makes it, or cannot
	}
	if other, err := account.Lookup(first); err == nil && other.UID != who.UID {
		return invalid("workdir", "%s would be made in the place of user %s: name that user, or another directory", workdir, first)
	}
	err = root.Mkdir(first, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil // another job was faster, maybe another user's
	}
	if err != nil {
		return invalid("workdir", "%s cannot be made: %v", workdir, err)
	}
	if err := root.Lchown(first, who.UID, who.GID); err != nil {
		return fmt.Errorf("giving %s to %s: %w", first, who.Name, err)
	}
	return nil
}

// within opens the allowed root that path lies below once symlinks are resolved, and returns the path relative to it. What
// is done through the root afterwards cannot leave it, whoever moves directories meanwhile. atRoot allows the root itself.
func (w *Worker) within(field, path string, atRoot bool) (*os.Root, string, error) {
	real := realPath(path)
	// First those that the path names: another one may be away with its file server.
	roots := slices.Clone(w.config.Roots)
	slices.SortStableFunc(roots, func(a, b string) int { return cmp.Compare(outside(a, path), outside(b, path)) })
	for _, allowed := range roots {
		top := realPath(allowed)
		rel, err := filepath.Rel(top, real)
		if err != nil || rel == "." && !atRoot || !filepath.IsLocal(rel) {
			continue
		}
		root, err := os.OpenRoot(top)
		if err != nil {
			return nil, "", invalid(field, "%s lies below the root %s, which cannot be opened: %v; see NETLAB_WORKER_ROOTS", path, allowed, err)
		}
		return root, rel, nil
	}
	return nil, "", invalid(field, "%s leads to %s, which lies below none of the host's roots (%s)", path, real, strings.Join(w.config.Roots, ", "))
}

// outside is 0 where the path lies in the directory, by their names alone, else 1.
func outside(dir, path string) int {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		return 0
	}
	return 1
}

// realPath resolves the symlinks of that part of path which exists.
func realPath(path string) string {
	rest := ""
	for existing := filepath.Clean(path); ; existing = filepath.Dir(existing) {
		if real, err := filepath.EvalSymlinks(existing); err == nil {
			return filepath.Join(real, rest)
		}
		if existing == "/" || existing == "." {
			return filepath.Clean(path)
		}
		rest = filepath.Join(filepath.Base(existing), rest)
	}
}

// findTopology finds the one that a job means which came without any.
func findTopology(dir *os.Root, path string, job *jobs.Job) (string, error) {
	r := &job.Request
	if _, err := dir.Lstat(inventory.SnapshotFile); err == nil && job.Action == jobs.Restart && r.TopologyPath == "" {
		return "", nil // the driver knows what the lab that is there was made of
	}
	candidates := defaultTopologies
	if r.TopologyPath != "" {
		candidates = []string{r.TopologyPath}
	}
	for _, name := range candidates {
		info, err := dir.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			if out := leadsOut(dir, name); out != "" {
				return "", invalid("topologyPath", "%s leads to %s, which is outside the working directory: name a file inside it", name, out)
			}
			return "", invalid("topologyPath", "%s: %v; it must be a file that the job's user can read", name, errors.Unwrap(err))
		}
		if !info.Mode().IsRegular() {
			return "", invalid("topologyPath", "%s is not a file", name)
		}
		return name, nil
	}
	if r.TopologyPath != "" {
		return "", invalid("topologyPath", "there is no %s in %s", r.TopologyPath, path)
	}
	return "", invalid("topologyPath", "there is no topology in %s (looked for %s): put one there, name it in topologyPath, or send it as topology",
		path, strings.Join(defaultTopologies, ", "))
}

// leadsOut is where the links of a path lead to out of the directory, empty where they do not.
func leadsOut(dir *os.Root, name string) string {
	top := realPath(dir.Name())
	real := realPath(filepath.Join(top, name))
	if rel, err := filepath.Rel(top, real); err == nil && filepath.IsLocal(rel) {
		return ""
	}
	return real
}

// store writes a file that is to have content, and does not have it already, so that an unchanged topology is not newer than its lab.
func store(dir *os.Root, name, content string) (stored bool, err error) {
	if content == "" || has(dir, name, []byte(content)) {
		return false, nil
	}
	err = replace(dir, name, []byte(content))
	return err == nil, err
}

// replace writes a file by a rename.
func replace(dir *os.Root, name string, content []byte) error {
	temporary := name + ".new"
	file, err := create(dir, temporary)
	if err == nil {
		_, err = file.Write(content)
		err = errors.Join(err, file.Close())
	}
	if err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		_ = dir.Remove(temporary)
	}
	return err
}

// has says whether the file has that content.
func has(dir *os.Root, name string, content []byte) bool {
	old, err := head(dir, name, len(content)+1)
	return err == nil && bytes.Equal(old, content)
}

// mentions says whether the word is in the file.
func mentions(dir *os.Root, name, word string) bool {
	content, err := head(dir, name, jobs.MaxTopologyBytes)
	return err == nil && bytes.Contains(content, []byte(word))
}

// head reads the beginning of a file, so many bytes at most. It waits for no pipe.
func head(dir *os.Root, name string, most int) ([]byte, error) {
	file, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file that can be read", name)
	}
	return io.ReadAll(io.LimitReader(file, int64(most)))
}

// collectedMark is left in a directory that collect has made. Netlab deletes the output directory before it collects, so one
// without the mark is refused.
const collectedMark = ".collected"

func checkOutput(dir *os.Root, output string) error {
	info, err := dir.Lstat(output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return invalid("collectOutput", "%s: %v", output, err)
	}
	if !info.IsDir() {
		return invalid("collectOutput", "%s exists and is not a directory; name another one", output)
	}
	if _, err := dir.Lstat(filepath.Join(output, collectedMark)); err != nil {
		return invalid("collectOutput", "%s exists and was not made by collect, which deletes its output directory first: remove it or name another one", output)
	}
	return nil
}

// checkTar refuses what tar would write through or over: all but a tarball of the same output directory.
func checkTar(dir *os.Root, name, output string) error {
	if name == "" {
		return nil
	}
	info, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return invalid("collectTar", "%s: %v", name, err)
	case !info.Mode().IsRegular():
		return invalid("collectTar", "%s exists and is not a file; name another one", name)
	case info.Size() > 0 && !isTarballOf(dir, name, output): // a tar that was killed leaves an empty file
		return invalid("collectTar", "%s exists and is not a tarball that collect made of %s: remove it or name another one", name, output)
	}
	return nil
}

// isTarballOf says whether the file is a compressed tarball that begins with the folder. It waits for no pipe.
func isTarballOf(dir *os.Root, name, folder string) bool {
	file, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return false
	}
	header, err := tar.NewReader(unzipped).Next()
	return err == nil && strings.HasPrefix(header.Name, folder+"/")
}

// checkStatusFile says which of the files that every command of Netlab writes the job's user cannot write.
func (r *run) checkStatusFile(job *jobs.Job) error {
	if !job.Action.Changes() {
		return nil
	}
	who, field := &r.scene.Who, "user"
	if job.Request.StateRoot != "" {
		field = "stateRoot"
	}
	return who.Do(func() error {
		for _, name := range []string{r.scene.statusFile(), r.scene.statusFile() + ".lock"} {
			f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, fs.ErrPermission) {
				return invalid(field, "%s cannot be written by %s, which Netlab needs: give it to that user (chown)", name, who.Name)
			}
			if err == nil {
				_ = f.Close()
			}
		}
		return nil
	})
}

// statusFile is Netlab's status file in the state root, which is made with the rights of who the job runs as; empty for an
// empty one: Netlab's own.
func (w *Worker) statusFile(stateRoot string, who *account.Account) (file string, err error) {
	if stateRoot == "" {
		return "", nil
	}
	root, rel, err := w.within("stateRoot", stateRoot, true)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	err = who.Do(func() error {
		if err := root.MkdirAll(rel, 0o755); err != nil {
			return invalid("stateRoot", "%s cannot be made by %s: %v", stateRoot, who.Name, err)
		}
		dir, err := root.OpenRoot(rel)
		if err != nil {
			return invalid("stateRoot", "%s cannot be opened by %s: %v", stateRoot, who.Name, err)
		}
		defer func() { _ = dir.Close() }()
		if err := checkWritable(dir); err != nil {
			return invalid("stateRoot", "%s cannot be written by %s: %v", stateRoot, who.Name, err)
		}
		file = filepath.Join(rel, "status.yaml")
		if info, err := root.Lstat(file); err == nil && !info.Mode().IsRegular() {
			return invalid("stateRoot", "%s exists and is not a file", filepath.Join(stateRoot, "status.yaml"))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(root.Name(), file), nil
}

// markCollected leaves the mark in the directory that collect has made.
func (r *run) markCollected() error {
	root, rel, err := r.w.within("workdir", r.scene.Dir, false)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return r.scene.Who.Do(func() error {
		// Never through a symlink: O_EXCL.
		file, err := root.OpenFile(filepath.Join(rel, r.entry.Birth.Request.Output(), collectedMark), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		switch {
		case errors.Is(err, fs.ErrExist):
			return nil
		case errors.Is(err, fs.ErrNotExist):
			// collectCleanup has taken the directory away.
			return nil
		case err != nil:
			return err
		}
		return file.Close()
	})
}
