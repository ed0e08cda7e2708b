package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/account"
	"netlab-runner/internal/inventory"
	"netlab-runner/test/asroot"
	"netlab-runner/test/people"
)

// asked is the answer to a question, as JSON into the value.
func (b *testBundle) asked(endpoint, question string, value any) error {
	b.t.Helper()
	text, err := b.worker.endpoints(b.t.Context())[endpoint](b.t.Context(), []byte(question))
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	return err
}

// lists has the user's status file list a lab in that directory.
func lists(t *testing.T, a *account.Account, instance, dir string) {
	t.Helper()
	file := filepath.Join(a.Home, ".netlab", "status.yaml")
	own(t, a, filepath.Dir(file))
	must(t, os.WriteFile(file, fmt.Appendf(nil, "'%s':\n  dir: %s\n  name: x%s\n  providers: [ clab ]\n  status: started\n", instance, dir, instance), 0o644),
		os.Chown(file, a.UID, a.GID))
}

func TestStatusOfAllUsers(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	for _, who := range []*account.Account{a, other} {
		lists(t, who, "77", own(t, who, filepath.Join(b.root, who.Name)))
	}
	must(t, b.worker.known.remember(knownLab{Dir: filepath.Join(b.root, a.Name), Job: "j1", UID: a.UID}))
	var all struct {
		Found bool
		Labs  map[string]struct{ Dir string }
		Text  string
	}
	must(t, b.asked("status", "{}", &all))
	// Both have the id: one by its name alone.
	keys := map[string]string{}
	for key, lab := range all.Labs {
		keys[lab.Dir] = key
	}
	mine, theirs := keys[filepath.Join(b.root, a.Name)], keys[filepath.Join(b.root, other.Name)]
	if !all.Found || mine == "" || theirs == "" || mine == theirs {
		t.Fatalf("%+v", all)
	}
	must(t, b.asked("status", `{"text":true}`, &all))
	wantWords(t, all.Text, filepath.Join(b.root, a.Name), filepath.Join(b.root, other.Name))

	// A snapshot is code: its owner runs it.
	var one struct {
		Found bool
		Labs  struct{ Asked int }
	}
	for key, who := range map[string]*account.Account{mine: a, theirs: other} {
		must(t, b.asked("status", fmt.Sprintf(`{"instance":%q}`, key), &one))
		if !one.Found || one.Labs.Asked != who.UID {
			t.Errorf("%s: %+v, want it asked by %d", key, one, who.UID)
		}
	}
	must(t, b.asked("status", `{"instance":"no-such-lab"}`, &one))
	if one.Found {
		t.Error("a lab that is not there is found")
	}
	if err := b.asked("status", `[`, &one); err == nil {
		t.Error("garbage is answered")
	}

	var list struct {
		Labs []struct {
			Instance, Dir, User, Status string
			Job                         *string
		}
	}
	must(t, b.asked("labs", "{}", &list))
	found := 0
	for _, lab := range list.Labs {
		switch lab.Dir {
		case filepath.Join(b.root, a.Name):
			found++
			if lab.User != a.Name || lab.Instance != "77" || lab.Status != "started" || lab.Job == nil || *lab.Job != "j1" {
				t.Errorf("%+v", lab)
			}
		case filepath.Join(b.root, other.Name):
			found++
			if lab.User != other.Name || lab.Job != nil {
				t.Errorf("%+v", lab)
			}
		}
	}
	if found != 2 {
		t.Errorf("%+v", list)
	}
}

// A lab of root's is looked at as root only where nobody else could have made its snapshot.
func TestOnlyRoots(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	b := setup(t)
	roots := filepath.Join(b.root, "roots")
	theirs := own(t, a, filepath.Join(b.root, "theirs"))
	open := filepath.Join(b.root, "open")
	must(t, os.Mkdir(roots, 0o755), os.Mkdir(open, 0o755), os.Chmod(open, 0o777), os.Mkdir(filepath.Join(theirs, "lab"), 0o755),
		os.WriteFile(filepath.Join(roots, "snapshot"), nil, 0o644), os.WriteFile(filepath.Join(roots, "theirs"), nil, 0o644),
		os.Chown(filepath.Join(roots, "theirs"), a.UID, a.GID), os.Symlink(theirs, filepath.Join(b.root, "link")))
	for path, good := range map[string]bool{
		filepath.Join(roots, "snapshot"):           true,
		filepath.Join(roots, "none"):               true,
		filepath.Join(roots, "theirs"):             false,
		filepath.Join(theirs, "snapshot"):          false,
		filepath.Join(theirs, "lab", "snapshot"):   false,
		filepath.Join(open, "snapshot"):            false,
		filepath.Join(b.root, "link", "lab", "it"): false,
	} {
		if err := onlyRoots(path); (err == nil) != good {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A snapshot is code: what another user has put where a lab was does not run as the lab's owner.
func TestCheckOwner(t *testing.T) {
	t.Parallel()
	asroot.Need(t, "files are given to other users")
	who := &account.Account{Name: "ann", UID: 40001, GID: 40001}
	for name, c := range map[string]struct {
		dir, snapshot int // owners; -1: there is no snapshot
		refused       bool
	}{
		"the lab's own":           {40001, 40001, false},
		"without a snapshot":      {40001, -1, false},
		"root's":                  {0, 0, false},
		"another's directory":     {40002, 40001, true},
		"another's snapshot":      {40001, 40002, true},
		"another's empty one":     {40002, -1, true},
		"another's, of everybody": {40002, 40002, true},
	} {
		dir := t.TempDir()
		if c.snapshot >= 0 {
			must(t, os.WriteFile(filepath.Join(dir, inventory.SnapshotFile), nil, 0o600), os.Chown(filepath.Join(dir, inventory.SnapshotFile), c.snapshot, c.snapshot))
		}
		must(t, os.Chown(dir, c.dir, c.dir))
		if err := checkOwner(dir, who); (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	outside := people.Dir(t)
	dir := people.Dir(t)
	b := setup(t, func(c *Config) { c.Templates = dir })
	must(t, os.MkdirAll(filepath.Join(dir, "bgp", "deep"), 0o755), os.WriteFile(filepath.Join(outside, "secret.yml"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "bgp", "b.yml"), nil, 0o644), os.WriteFile(filepath.Join(dir, "bgp", "a.yaml"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "bgp", "notes.txt"), nil, 0o644), os.Mkdir(filepath.Join(dir, "bgp", "dir.yml"), 0o755),
		os.WriteFile(filepath.Join(dir, "bgp", "deep", "c.yml"), nil, 0o644),
		os.Symlink("b.yml", filepath.Join(dir, "bgp", "link.yml")), os.Symlink(filepath.Join(outside, "secret.yml"), filepath.Join(dir, "bgp", "out.yml")),
		os.Symlink("nowhere.yml", filepath.Join(dir, "bgp", "broken.yml")),
		os.Symlink(outside, filepath.Join(dir, "away")), os.Symlink("bgp", filepath.Join(dir, "inside")))
	for question, want := range map[string][]string{
		"":         {},
		"bgp":      {"a.yaml", "b.yml", "link.yml"},
		"/bgp/":    {"a.yaml", "b.yml", "link.yml"},
		"inside":   {"a.yaml", "b.yml", "link.yml"},
		"bgp/deep": {"c.yml"},
		"none":     {},
	} {
		var got struct{ Templates []template }
		if err := b.asked("templates", fmt.Sprintf(`{"dir":%q}`, question), &got); err != nil {
			t.Errorf("%s: %v", question, err)
			continue
		}
		names := []string{}
		for _, template := range got.Templates {
			names = append(names, template.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%q: %s", question, diff)
		}
	}
	for _, question := range []string{"..", "../" + filepath.Base(outside), "away", "bgp/../../" + filepath.Base(outside), outside} {
		var got struct{ Templates []template }
		if err := b.asked("templates", fmt.Sprintf(`{"dir":%q}`, question), &got); err == nil && len(got.Templates) > 0 {
			t.Errorf("%s: %+v", question, got)
		}
	}
	b.worker.config.Templates = ""
	if err := b.asked("templates", "{}", new(any)); err == nil || !strings.Contains(err.Error(), "NETLAB_WORKER_TEMPLATES") {
		t.Errorf("without a root: %v", err)
	}
}
