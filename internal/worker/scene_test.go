package worker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"netlab-runner/internal/account"
)

// tidyAs tidies up after a run of the user's in dir.
func (b *testBundle) tidyAs(who *account.Account, dir string, remade bool) {
	r := &run{w: b.worker, log: b.config.Log, scene: scene{Who: *who, Dir: dir, Remade: remade}}
	r.tidy()
}

func TestTidyGivesBack(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	lab := own(t, a, filepath.Join(b.root, "lab"))
	must(t, os.Mkdir(filepath.Join(lab, "clab-x"), 0o700), os.WriteFile(filepath.Join(lab, "clab-x", "key"), nil, 0o600))
	b.tidyAs(a, lab, false)
	wantOwner(t, a, lab, filepath.Join(lab, "clab-x"), filepath.Join(lab, "clab-x", "key"))

	// Nothing in a directory of somebody else's, whether the job ran there or its user has put a link there since.
	theirs := own(t, other, filepath.Join(b.root, "theirs"))
	secret := filepath.Join(theirs, "secret")
	must(t, os.WriteFile(secret, []byte("root's"), 0o600))
	b.tidyAs(a, theirs, false)
	wantOwner(t, &account.Account{}, secret)
	must(t, os.RemoveAll(lab), os.Symlink(theirs, lab))
	b.tidyAs(a, lab, false)
	wantOwner(t, &account.Account{}, secret)
	// Nor through a link above the directory.
	must(t, os.Mkdir(filepath.Join(theirs, "deep"), 0o755), os.Chown(filepath.Join(theirs, "deep"), a.UID, a.GID),
		os.WriteFile(filepath.Join(theirs, "deep", "secret"), nil, 0o600))
	b.tidyAs(a, filepath.Join(lab, "deep"), false)
	wantOwner(t, &account.Account{}, filepath.Join(theirs, "deep", "secret"))
	// One that is gone is nothing to complain of.
	b.tidyAs(a, filepath.Join(b.root, "none"), false)
}

func TestTidyOfADirectoryMadeForTheJob(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	home := own(t, a, filepath.Join(b.root, "home"))
	gone := func(path string) bool { _, err := os.Lstat(path); return errors.Is(err, fs.ErrNotExist) }

	empty := own(t, a, filepath.Join(home, "empty"))
	b.tidyAs(a, empty, true)
	if !gone(empty) {
		t.Error("an empty one is left")
	}
	first := own(t, a, filepath.Join(b.root, "first")) // in a directory of root's
	b.tidyAs(a, first, true)
	if !gone(first) {
		t.Error("an empty one in root's directory is left")
	}
	others := own(t, other, filepath.Join(b.root, "others"))
	b.tidyAs(a, others, true)
	if gone(others) {
		t.Error("another user's was removed")
	}
	full := own(t, a, filepath.Join(home, "full"))
	must(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o600))
	b.tidyAs(a, full, true)
	wantOwner(t, a, filepath.Join(full, "file"))
	// What its user has put in its place is not removed with root's rights.
	theirs := own(t, other, filepath.Join(b.root, "theirs"))
	precious := filepath.Join(theirs, "precious")
	must(t, os.WriteFile(precious, nil, 0o600), os.Mkdir(filepath.Join(theirs, "empty"), 0o755))
	for name, target := range map[string]string{"to a file": precious, "to a directory": filepath.Join(theirs, "empty")} {
		link := filepath.Join(home, name)
		must(t, os.Symlink(target, link))
		b.tidyAs(a, link, true)
		if gone(target) {
			t.Errorf("%s was removed", target)
		}
	}
}

func TestScenesAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := addEntry(t, b.worker.journal, "j1", 1)
	want := scene{Who: *b.worker.runAs, Dir: "/r/lab", StatusFile: "/r/status.yaml", Remade: true, Instance: "7"}
	if _, ok := e.loadScene(b.config.Log); ok {
		t.Error("there is one before the first")
	}
	must(t, e.saveScene(want))
	got, ok := e.loadScene(b.config.Log)
	if !ok || got.Dir != want.Dir || got.Who.Name != want.Who.Name || got.StatusFile != want.StatusFile || !got.Remade || got.Instance != "7" {
		t.Errorf("%+v", got)
	}
}
