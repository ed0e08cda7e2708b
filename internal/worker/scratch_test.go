package worker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/account"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// tree is every path below dir with its kind, size and time.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			paths = append(paths, path+" "+info.Mode().String()+" "+info.ModTime().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// archive is a bundle of these files.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	writer := tar.NewWriter(zipped)
	for name, content := range files {
		_, err := writer.Write(nil)
		must(t, err, writer.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err = writer.Write([]byte(content))
		must(t, err)
	}
	must(t, writer.Close(), zipped.Close())
	return buffer.Bytes()
}

func TestValidateTouchesNoLab(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	lab := filepath.Join(b.root, "lab")
	must(t, os.MkdirAll(filepath.Join(lab, "templates"), 0o755), os.WriteFile(filepath.Join(lab, "include.yml"), []byte("a: b"), 0o644),
		os.WriteFile(filepath.Join(lab, topologyFile), []byte("nodes: [ r9 ]"), 0o644),
		os.WriteFile(filepath.Join(lab, topologyFile+".new"), []byte("precious"), 0o644))
	before := tree(t, b.root)
	read := func(run *played, name string) string {
		text, err := os.ReadFile(filepath.Join(run.run.Workdir, name))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}

	inline := b.birth("inline", jobs.Validate)
	inline.Workdir = lab
	b.send(inline)
	run := b.next()
	if filepath.Base(run.run.Workdir) != "lab" || strings.HasPrefix(run.run.Workdir, b.root) {
		t.Errorf("it runs in %s", run.run.Workdir)
	}
	if read(run, topologyFile) != "nodes: [ r1 ]" || read(run, "include.yml") != "a: b" {
		t.Errorf("there are %v", tree(t, run.run.Workdir))
	}
	problem := jobs.Problem{File: topologyFile, Text: "no such device"}
	run.result <- exec.Result{ExitCode: 1, Error: "no such device", Errors: []jobs.Problem{problem}}
	if got := b.await("inline", ended); !slices.Equal(got.Errors, []jobs.Problem{problem}) || got.Reason != jobs.ReasonNetlabFailed {
		t.Errorf("%+v", got)
	}

	content := archive(t, map[string]string{"topology.yml": "nodes: [ r2 ]", "extra/file.txt": "x"})
	must(t, b.bus.PutObject(t.Context(), "a", "bundled", content))
	bundled := b.birth("bundled", jobs.Validate)
	bundled.Workdir, bundled.Topology, bundled.Object = lab, "", bus.RefOf(bus.ObjectBundle, content)
	b.send(bundled)
	run = b.next()
	if read(run, topologyFile) != "nodes: [ r2 ]" || read(run, "extra/file.txt") != "x" {
		t.Errorf("there are %v", tree(t, run.run.Workdir))
	}
	if _, err := os.Lstat(filepath.Join(run.run.Workdir, "include.yml")); err == nil {
		t.Error("a bundle has neighbours")
	}
	run.result <- nothing
	b.await("bundled", ended)

	// Where there is no directory, it is as if it were empty.
	absent := b.birth("absent", jobs.Validate)
	b.send(absent)
	b.next().result <- nothing
	if got := b.await("absent", ended); got.State != jobs.Success {
		t.Errorf("%+v", got)
	}
	// What is there is validated where it is.
	there := b.birth("there", jobs.Validate)
	there.Workdir, there.Topology = lab, ""
	b.send(there)
	run = b.next()
	if run.run.Workdir != lab {
		t.Errorf("it runs in %s", run.run.Workdir)
	}
	run.result <- nothing
	b.await("there", ended)
	b.wantEmptyJournal()
	if after := tree(t, b.root); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestScratchIsTheUsers(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	lab := own(t, a, filepath.Join(b.root, "lab"))
	must(t, os.WriteFile(filepath.Join(lab, "include.yml"), nil, 0o644))
	scratch := func(who *account.Account) (*place, error) {
		r := &run{w: b.worker, entry: addEntry(t, b.worker.journal, "j"+who.Name, 1)}
		p, err := r.scratch(job(jobs.Validate, lab, ""), who, inline("nodes: [ r1 ]"))
		p.close()
		return p, err
	}
	p, err := scratch(a)
	if err != nil {
		t.Fatal(err)
	}
	wantOwner(t, a, p.dir, filepath.Join(p.dir, topologyFile), filepath.Join(p.dir, "include.yml"))
	if err := a.Do(func() error { _, err := os.Stat(filepath.Join(p.dir, "include.yml")); return err }); err != nil {
		t.Errorf("its user cannot come to it: %v", err)
	}
	// What the user may not look at is not shown.
	must(t, os.Chmod(lab, 0o700))
	_, err = scratch(other)
	wantInvalid(t, err, "workdir: ", "cannot be read")
	// A pipe in its place hangs nobody.
	must(t, os.RemoveAll(lab), syscall.Mkfifo(lab, 0o666))
	done := make(chan error, 1)
	go func() { _, err := scratch(newNamed(a, "x")); done <- err }()
	if err := receive(t, done); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// newNamed is the account by another name.
func newNamed(a *account.Account, name string) *account.Account {
	named := *a
	named.Name += name
	return &named
}
