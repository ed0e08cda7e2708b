package bundle_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/bundle"
)

// lab is a bundle with all that a good one may have.
var lab = []item{
	{name: "./"},
	{name: "topology.yml", content: "nodes: [ a ]\n"},
	{name: "plugins/", mode: fs.ModeDir | 0o700},
	{name: "plugins/deep/er/x.py", content: "import os\n"},
	{name: "run.sh", content: "#!/bin/sh\n", mode: 0o4755},
	{name: "secret", content: "s", mode: 0o400},
	{name: "all", content: "a", mode: 0o666},
	{name: "nothing/", mode: fs.ModeDir | 0o2777},
	{name: "empty"},
}

var labFiles = map[string]string{
	"topology.yml": "nodes: [ a ]\n", "plugins/deep/er/x.py": "import os\n", "run.sh": "#!/bin/sh\n", "secret": "s", "all": "a", "empty": "",
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	for format, data := range both(t, lab...) {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			root, dir := opened(t)
			files, err := bundle.Unpack(data, root, small)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"all", "empty", "plugins/deep/er/x.py", "run.sh", "secret", "topology.yml"}, files); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(labFiles, contents(t, dir)); diff != "" {
				t.Error(diff)
			}
			modes := map[string]fs.FileMode{
				"topology.yml": 0o644, "run.sh": 0o755, "secret": 0o644, "all": 0o644,
				"plugins": fs.ModeDir | 0o755, "plugins/deep": fs.ModeDir | 0o755, "nothing": fs.ModeDir | 0o755,
			}
			for name, mode := range modes {
				if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
					t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
				}
			}
		})
	}
}

// TestUnpackAgain leaves alone what is the same, and what the bundle does not name.
func TestUnpackAgain(t *testing.T) {
	t.Parallel()
	for format, data := range both(t, lab...) {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			root, dir := opened(t)
			write := func(name, content string, mode fs.FileMode) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
					t.Fatal(err)
				}
			}
			write("topology.yml", "nodes: [ a ]\n", 0o600)
			write("secret", "t", 0o400)
			write("run.sh", "#!/bin/sh\n", 0o644)
			write("mine", "m", 0o644)
			write(".netlab-bundle-3", "of one that was killed", 0o644)
			old := time.Now().Add(-time.Hour).Truncate(time.Second)
			before := map[string]fs.FileInfo{}
			for _, name := range []string{"topology.yml", "secret", "run.sh", "mine"} {
				if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				before[name] = info
			}
			if _, err := bundle.Unpack(data, root, small); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(labFiles)
			want["mine"] = "m"
			if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
				t.Error(diff)
			}
			for name, replaced := range map[string]bool{"topology.yml": false, "mine": false, "secret": true, "run.sh": true} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if same := os.SameFile(before[name], info) && info.ModTime().Equal(old) && info.Mode() == before[name].Mode(); same == replaced {
					t.Errorf("%s: replaced %v, want %v", name, !same, replaced)
				}
			}
			// And nothing at all the second time.
			inode := func() map[string]uint64 {
				all := map[string]uint64{}
				for name := range want {
					var s unix.Stat_t
					if err := unix.Lstat(filepath.Join(dir, name), &s); err != nil {
						t.Fatal(err)
					}
					all[name] = s.Ino
				}
				return all
			}
			first := inode()
			if _, err := bundle.Unpack(data, root, small); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, inode()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnpackOnto has what lies in the working directory already. In each case the outside stays as it is, and after a
// refusal the directory too.
func TestUnpackOnto(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// make puts something into dir; outside is a directory beside it with a file "f" in it.
		make         func(dir, outside string) error
		entry, words string // none: it is unpacked
	}{
		{"a file over a symlink to a file outside", func(dir, outside string) error {
			return os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "topology.yml"))
		}, "", ""},
		{"a file over a symlink to one inside", func(dir, _ string) error {
			if err := os.WriteFile(filepath.Join(dir, "other"), []byte("nodes: [ a ]\n"), 0o644); err != nil {
				return err
			}
			return os.Symlink("other", filepath.Join(dir, "topology.yml"))
		}, "", ""},
		{"a file over a symlink to nothing", func(dir, _ string) error {
			return os.Symlink("nowhere", filepath.Join(dir, "topology.yml"))
		}, "", ""},
		{"a directory that is a symlink outside", func(dir, outside string) error {
			return os.Symlink(outside, filepath.Join(dir, "plugins"))
		}, `"plugins"`, "symbolic link in the working directory"},
		{"a directory that is a symlink inside", func(dir, _ string) error {
			if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
				return err
			}
			return os.Symlink("real", filepath.Join(dir, "plugins"))
		}, `"plugins"`, "symbolic link in the working directory"},
		{"a deep directory that is a symlink", func(dir, outside string) error {
			if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
				return err
			}
			return os.Symlink(outside, filepath.Join(dir, "plugins/deep"))
		}, `"plugins/deep"`, "symbolic link in the working directory"},
		{"an empty directory that is a symlink", func(dir, outside string) error {
			return os.Symlink(outside, filepath.Join(dir, "nothing"))
		}, `"nothing"`, "symbolic link in the working directory"},
		{"a directory that is a file", func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "plugins"), nil, 0o644)
		}, `"plugins"`, "a directory in the bundle and a file in the working directory"},
		{"a file that is a directory", func(dir, _ string) error {
			return os.Mkdir(filepath.Join(dir, "run.sh"), 0o755)
		}, `"run.sh"`, "a file in the bundle and a directory in the working directory"},
		{"a file that is a FIFO", func(dir, _ string) error {
			return unix.Mkfifo(filepath.Join(dir, "run.sh"), 0o644)
		}, `"run.sh"`, "FIFO"},
		{"a file that cannot be read", func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "topology.yml"), []byte("nodes: [ b ]\n"), 0)
		}, "", ""},
	} {
		for format, data := range both(t, lab...) {
			t.Run(test.name+", "+format, func(t *testing.T) {
				t.Parallel()
				root, dir := opened(t)
				outside := t.TempDir()
				if err := os.WriteFile(filepath.Join(outside, "f"), []byte("nodes: [ a ]\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := test.make(dir, outside); err != nil {
					t.Fatal(err)
				}
				before := names(t, dir)
				_, err := bundle.Unpack(data, root, small)
				if test.words != "" {
					wantRefusal(t, err, test.entry, test.words)
					if diff := cmp.Diff(before, names(t, dir)); diff != "" {
						t.Errorf("something was written: %s", diff)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					have := contents(t, dir)
					delete(have, "other")
					if diff := cmp.Diff(labFiles, have); diff != "" {
						t.Error(diff)
					}
				}
				if diff := cmp.Diff(map[string]string{"f": "nodes: [ a ]\n"}, contents(t, outside)); diff != "" {
					t.Errorf("outside: %s", diff)
				}
			})
		}
	}
}

// names are all paths below dir with their types.
func names(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	all := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			all[strings.TrimPrefix(p, dir)] = d.Type()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestUnpackRefused writes nothing of a bundle whose last entry is bad.
func TestUnpackRefused(t *testing.T) {
	t.Parallel()
	for format, data := range both(t, append(slices.Clone(lab), item{name: "../x"})...) {
		root, dir := opened(t)
		_, err := bundle.Unpack(data, root, small)
		wantRefusal(t, err, `"../x"`, "'..'")
		if have := contents(t, dir); len(have) > 0 {
			t.Errorf("%s: %v", format, have)
		}
	}
}

// TestUnpackFailed changes no file of a lab when the disk does not take the bundle.
func TestUnpackFailed(t *testing.T) {
	t.Parallel()
	for format, data := range both(t, append(slices.Clone(lab), item{name: "locked/x"})...) {
		root, dir := opened(t)
		if err := os.WriteFile(filepath.Join(dir, "topology.yml"), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "locked"), 0o555); err != nil {
			t.Fatal(err)
		}
		var err error
		asOther(t, dir, func() { _, err = bundle.Unpack(data, root, small) })
		var r *bundle.Refusal
		if err == nil || errors.As(err, &r) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", format, err)
		}
		want := map[string]fs.FileMode{"": fs.ModeDir, "/locked": fs.ModeDir, "/topology.yml": 0}
		if diff := cmp.Diff(want, names(t, dir)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if diff := cmp.Diff(map[string]string{"topology.yml": "old"}, contents(t, dir)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
}

// asOther calls f with the rights of somebody who has the directory and is not root, whom nothing stops.
func asOther(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		_, _ = unix.SetfsuidRetUid(nobody)
		f()
	}()
	<-done
}
