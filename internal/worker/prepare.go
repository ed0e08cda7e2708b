package worker

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
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
	// topology is relative to dir, empty where the action needs none.
	topology string
	// snapshot says that Netlab has made a lab there before.
	snapshot bool
	// absent says that there is no such directory; dir is then the root.
	absent bool
}

// topologyFile is where an inline topology is stored.
const topologyFile = "topology.yml"

// defaultTopologies are looked for in this order.
var defaultTopologies = []string{"netlab/topology.yml", "netlab/topology.yaml", "topology.yml", "topology.yaml"} //nolint:gochecknoglobals // a table that is never written

// prepare checks what only the host can know and makes the working directory ready. An *invalidError is the request's fault.
func (w *Worker) prepare(job *jobs.Job, topology string) (*place, error) {
	root, rel, err := w.within("workdir", job.Workdir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	makes := job.Action == jobs.Up || job.Action == jobs.Create || job.Action == jobs.Restart
	info, err := root.Stat(rel)
	switch {
	case err == nil && !info.IsDir():
		return nil, invalid("workdir", "%s is a file; name a directory", job.Workdir)
	case errors.Is(err, fs.ErrNotExist) && makes && topology == "":
		return nil, invalid("topologyPath", "there is no directory %s, and so no topology in it: make it first, or send the topology itself as topology", job.Workdir)
	case makes:
		if err := root.MkdirAll(rel, 0o755); err != nil {
			return nil, invalid("workdir", "%s cannot be made: %v; check who owns its parent directories, or name another one", job.Workdir, err)
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
		return nil, invalid("workdir", "%s cannot be opened: %v; it must be a directory", job.Workdir, err)
	}
	defer func() { _ = dir.Close() }()
	p := &place{dir: filepath.Join(root.Name(), rel)}
	needed := uint32(unix.R_OK | unix.X_OK)
	if job.Action.Changes() {
		needed |= unix.W_OK
	}
	if err := unix.Access(p.dir, needed); err != nil {
		return nil, invalid("workdir", "%s cannot be used by the worker: %v; change its owner or mode", job.Workdir, err)
	}
	if _, err := dir.Stat("netlab.snapshot.pickle"); err == nil {
		p.snapshot = true
	}
	switch {
	case makes:
		if p.topology, err = findTopology(dir, p.dir, &job.Request, topology); err != nil {
			return nil, err
		}
	case job.Action == jobs.Collect:
		if err := checkOutput(dir, outputOf(&job.Request)); err != nil {
			return nil, err
		}
		if err := checkTar(dir, job.Request.CollectTar); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// within opens the allowed root that path lies below once symlinks are resolved, and returns the path relative to it. What
// is done through the root afterwards cannot leave it, whoever moves directories meanwhile. atRoot allows the root itself.
func (w *Worker) within(field, path string, atRoot bool) (*os.Root, string, error) {
	real := realPath(path)
	for _, allowed := range w.config.Roots {
		rel, err := filepath.Rel(realPath(allowed), real)
		if err != nil || rel == "." && !atRoot || !filepath.IsLocal(rel) {
			continue
		}
		root, err := os.OpenRoot(realPath(allowed))
		if err != nil {
			return nil, "", invalid(field, "%s lies below the root %s, which cannot be opened: %v; see NETLAB_WORKER_ROOTS", path, allowed, err)
		}
		return root, rel, nil
	}
	return nil, "", invalid(field, "%s leads to %s, which lies below none of the host's roots (%s)", path, real, strings.Join(w.config.Roots, ", "))
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

func findTopology(dir *os.Root, path string, r *jobs.Request, text string) (string, error) {
	if text != "" {
		return topologyFile, store(dir, topologyFile, []byte(text))
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
			return "", invalid("topologyPath", "%s: %v; it must be a file inside the working directory, and so must what it links to", name, err)
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

// store writes a file only if its content differs, so that an unchanged topology is not newer than its lab.
func store(dir *os.Root, name string, content []byte) error {
	if old, err := dir.ReadFile(name); err == nil && bytes.Equal(old, content) {
		return nil
	}
	temporary := name + ".new"
	if err := dir.WriteFile(temporary, content, 0o644); err != nil {
		return invalid("topology", "it cannot be stored: %v", err)
	}
	if err := dir.Rename(temporary, name); err != nil {
		return invalid("topology", "it cannot be stored: %v", err)
	}
	return nil
}

// collectedMark is left in a directory that collect has made. Netlab deletes the output directory before it collects, so one
// without the mark is refused.
const collectedMark = ".collected"

// outputOf is the output directory of a collect, relative to the working directory.
func outputOf(r *jobs.Request) string { return cmp.Or(r.CollectOutput, exec.DefaultOutput) }

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

// checkTar refuses what tar would write through or over.
func checkTar(dir *os.Root, name string) error {
	if name == "" {
		return nil
	}
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return invalid("collectTar", "%s: %v", name, err)
	}
	return invalid("collectTar", "%s exists and is not a file; name another one", name)
}

// statusFile is Netlab's status file in the state root; empty for an empty one: Netlab's own.
func (w *Worker) statusFile(stateRoot string) (string, error) {
	if stateRoot == "" {
		return "", nil
	}
	root, rel, err := w.within("stateRoot", stateRoot, true)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(rel, 0o755); err != nil {
		return "", invalid("stateRoot", "%s cannot be made: %v", stateRoot, err)
	}
	file := filepath.Join(rel, "status.yaml")
	if info, err := root.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return "", invalid("stateRoot", "%s exists and is not a file", filepath.Join(stateRoot, "status.yaml"))
	}
	return filepath.Join(root.Name(), file), nil
}

// markCollected leaves the mark in the directory that collect has made.
func (w *Worker) markCollected(job *jobs.Job) error {
	root, rel, err := w.within("workdir", job.Workdir, false)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	err = root.WriteFile(filepath.Join(rel, outputOf(&job.Request), collectedMark), nil, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		// collectCleanup has taken the directory away.
		return nil
	}
	return err
}
