package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reporter is a plugin that writes into a folder of the user's and into one of its own: before Netlab writes anything, and after.
const reporter = `
import os
def post_transform(topology):
  open("docs/addresses.txt", "w").write("x")
  open("docs/mine.txt", "a").write("more\n")
  os.makedirs("report/images", exist_ok=True)
def post_output(topology):
  open("docs/links.txt", "w").write("x")
  open("report/images/lab.txt", "w").write("x")
  if os.path.exists("die"):
    os.kill(os.getpid(), 9)
`

// The working directory is the user's home: it has Netlab's own folder, and others that were there before the lab.
func TestDestroyLeavesTheUsersFolders(t *testing.T) {
	t.Parallel()
	l := externalLab(t, nil)
	l.workdir = filepath.Join(l.root, "home")
	l.statusFile = filepath.Join(l.workdir, ".netlab", "status.yaml")
	mine := map[string]string{
		"topology.yml": external + "plugin: [ reporter ]\ndefaults.netlab.create.plugin: [ reporter ]\n", "reporter.py": reporter, "docs/mine.txt": "mine\n",
	}
	writeTree(t, l.workdir, mine)
	const other = "9:\n  dir: /labs/other\n  status: started\n"
	l.must(t, "create") // Netlab makes its folder meanwhile
	writeTree(t, l.workdir, map[string]string{".netlab/mine.py": "", ".netlab/status.yaml": other})
	dies := func() {
		writeFile(t, l.workdir+"/die", "")
		if result, log := l.act(t, "create"); result.ExitCode == 0 {
			t.Fatal(log)
		}
		l.remove(t, "die")
	}
	for _, c := range []struct {
		what  string
		spoil func()
		left  []string
		says  string
	}{
		{what: "broken off, and generated again", spoil: func() {
			dies()
			l.must(t, "create")
			writeFile(t, l.workdir+"/report/by a container", "")
		}, says: "docs/addresses.txt, docs/links.txt"},
		{what: "broken off", spoil: dies, says: "docs/addresses.txt, docs/links.txt"},
		{what: "by an earlier version", spoil: func() {
			l.must(t, "create")
			l.python(t, `
import json
manifest = json.load(open(".netlab-inputs.json"))
manifest["generated"] = sorted({name.partition("/")[0] for name in manifest["generated"]} | {".netlab"})
del manifest["folders"], manifest["place"]
json.dump(manifest, open(".netlab-inputs.json", "w"))
`)
		}, left: []string{"docs/addresses.txt", "docs/links.txt", "report/images/lab.txt"}, says: ".netlab, docs, report may have been there before the lab"},
	} {
		c.spoil()
		log := l.must(t, "destroy")
		mustContain(t, log, c.says)
		if c.left == nil && strings.Contains(log, ".netlab") {
			t.Errorf("%s: something of Netlab's own folder was taken for the lab's:\n%s", c.what, log)
		}
		if text := readFile(t, l.statusFile); text != other {
			t.Errorf("%s: the status file is %q", c.what, text)
		}
		readFile(t, l.workdir+"/.netlab/mine.py")
		want := map[string]bool{}
		for name := range mine {
			want[name] = true
		}
		for _, name := range c.left {
			want[name] = true
		}
		if diff := cmp.Diff(want, filesOf(t, l.workdir)); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
}

// A folder that was generated has the status file by now.
func TestStatusFileIsNotGenerated(t *testing.T) {
	t.Parallel()
	l := setup(t, nil)
	writeTree(t, l.workdir, map[string]string{"report/state/status.yaml": "", "report/lab.txt": ""})
	got := l.driver(t, `
from netlab_driver import files
manifest = {"generated": ["report", "report/lab.txt"], "folders": ["report"]}
print(*(files.generated(None, manifest, "", False, kept) for kept in ([], ["report/state/status.yaml"], ["report"])))`)
	if want := "['report', 'report/lab.txt'] ['report/lab.txt'] ['report/lab.txt']\n"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

// Files that Netlab would take for those that it has found, or beside them, and others.
func TestNewFilesThatNetlabWouldRead(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{
		"topology.yml": external + `plugin: [ shade, files ]
configlets: { generated: { base: x } }
groups.all.config: [ cfg, generated ]
defaults.sources.extra: [ missing.yml ]
defaults.parts._include: [ parts/*.yml ]
`,
		"cfg.j2": "x\n",
	})
	users := filepath.Join(l.root, "home", ".netlab")
	writeTree(t, l.workdir, map[string]string{"parts/a.yml": "a: b\n"})
	writeTree(t, users, map[string]string{"shade.py": ""})
	l.must(t, "create")
	for file, want := range map[string]string{
		"shade.py":                       "shade.py is new",
		"shade/plugin.py":                "shade/plugin.py is new",
		"cfg/r1.cfg":                     "cfg/r1.cfg is new",
		"missing.yml":                    "missing.yml is new",
		"parts/b.yml":                    "parts/b.yml is new",
		"topology.26.01.yml":             "topology.26.01.yml is new",
		users + "/external/external.j2":  users + "/external/external.j2 is new",
		users + "/topology-defaults.yml": "",
		"shade/notes.md":                 "",
		"other.py":                       "",
		"parts/b.txt":                    "",
	} {
		dir := l.workdir
		if filepath.IsAbs(file) {
			dir = "/"
		}
		writeTree(t, dir, map[string]string{file: ""})
		got := l.driver(t, "from netlab_driver import inputs\nmanifest = inputs.read()\nprint(inputs.changed(manifest, manifest['args']), end='')")
		if got != want {
			t.Errorf("%s: %q, not %q", file, got, want)
		}
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// filesOf are the files below dir, but for those of Netlab's own folder.
func filesOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for path := range listing(t, dir) {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err == nil && !info.IsDir() && !strings.HasPrefix(name, ".netlab/") {
			found[name] = true
		}
	}
	return found
}
