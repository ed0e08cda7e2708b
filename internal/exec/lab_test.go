package exec_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"netlab-runner/internal/exec"
	"netlab-runner/test/standins"
)

// bridged is a lab of three hosts on one segment, which needs a bridge on the host.
const bridged = `provider: clab
defaults.device: linux
nodes: [ h1, h2, h3 ]
links:
- interfaces: [ h1, h2, h3 ]
`

// clabLab is a lab of stand-ins, with a file of its user's beside the topology.
type clabLab struct {
	*bundle
	host *standins.Standins
}

// owned are the files of a lab's user.
func owned() map[string]string {
	return map[string]string{"topology.yml": bridged, "notes.md": "mine\n"}
}

func clab(t *testing.T, files map[string]string) *clabLab {
	t.Helper()
	l := &clabLab{bundle: setup(t, files), host: standins.Install(t)}
	l.path = l.host.Path()
	return l
}

// act runs an action to its end and returns the result and what it logged.
func (l *clabLab) act(t *testing.T, name string, args ...string) (exec.Result, string) {
	t.Helper()
	before := 0
	if info, err := os.Stat(l.output()); err == nil {
		before = int(info.Size())
	}
	result := l.finish(t, action(name, args...))
	return result, readFile(t, l.output())[before:]
}

func (l *clabLab) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	result, log := l.act(t, name, args...)
	if result.ExitCode != 0 {
		t.Fatalf("%s: exit code %d: %s\n%s", name, result.ExitCode, result.Error, log)
	}
	return log
}

// action is the command of an action on topology.yml.
func action(name string, args ...string) exec.Command {
	command := exec.Command{Name: name, Args: args}
	if slices.Contains([]string{"create", "up", "restart", "validate"}, name) {
		command.Topology = "topology.yml"
	}
	return command
}

// save keeps the lab as it is now: its files with their times, the status file, the containers. Its result is for restore.
func (l *clabLab) save(t *testing.T) string {
	t.Helper()
	saved := t.TempDir()
	copyTree(t, l.root+"/lab", saved+"/lab")
	copyTree(t, l.root+"/moved", saved+"/moved")
	copyTree(t, filepath.Dir(l.statusFile), saved+"/state")
	copyTree(t, l.host.Dir()+"/state.json", saved+"/state.json")
	return saved
}

// restore makes the lab what it was when it was saved.
func (l *clabLab) restore(t *testing.T, saved string) {
	t.Helper()
	for from, to := range map[string]string{"state": filepath.Dir(l.statusFile), "state.json": l.host.Dir() + "/state.json"} {
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		copyTree(t, filepath.Join(saved, from), to)
	}
	// The working directory stays the one that it is: of a copy the driver knows that it is one.
	before := l.workdir
	l.workdir = l.root + "/lab"
	if _, err := os.Stat(saved + "/moved"); err == nil {
		l.workdir = l.root + "/moved"
	}
	if before != l.workdir {
		if err := os.Rename(before, l.workdir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(l.workdir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		l.remove(t, entry.Name())
	}
	copyTree(t, filepath.Join(saved, filepath.Base(l.workdir))+"/.", l.workdir)
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Lstat(from); os.IsNotExist(err) {
		return
	}
	if out, err := osexec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// running are the names of the containers that run.
func (l *clabLab) running() []string {
	names := []string{}
	for _, c := range l.host.Containers() {
		if c.State == "running" {
			names = append(names, c.Name)
		}
	}
	return names
}

// mustBeAsAfter fails unless the lab is as the action has to leave it, whatever it was before. files are the user's.
func (l *clabLab) mustBeAsAfter(t *testing.T, action string, files map[string]string) {
	t.Helper()
	switch action {
	case "up", "restart":
		l.mustRun(t)
	case "down":
		l.mustBeDown(t)
	case "destroy":
		l.mustBeDestroyed(t, files)
	}
}

// mustRun fails unless the lab is up as a whole, and nothing else is.
func (l *clabLab) mustRun(t *testing.T) {
	t.Helper()
	name := filepath.Base(l.workdir)
	want := []string{"clab-" + name + "-h1", "clab-" + name + "-h2", "clab-" + name + "-h3"}
	if diff := cmp.Diff(want, l.running()); diff != "" {
		t.Errorf("containers that run: %s", diff)
	}
	if got := l.host.Containers(); len(got) != len(want) {
		t.Errorf("more containers than the lab's: %+v", got)
	}
	if diff := cmp.Diff([]string{name + "_1"}, l.host.Bridges()); diff != "" {
		t.Errorf("bridges: %s", diff)
	}
	for _, c := range l.host.Containers() {
		if len(c.Configured) == 0 || c.Topology != filepath.Join(l.workdir, "clab.yml") {
			t.Errorf("not configured, or not this lab's: %+v", c)
		}
	}
	for _, file := range []string{"netlab.lock", "netlab.snapshot.pickle", "netlab.snapshot.yml", ".netlab-inputs.json"} {
		if _, err := os.Stat(filepath.Join(l.workdir, file)); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"default": l.workdir + " started"}, l.entries(t)); diff != "" {
		t.Errorf("status file: %s", diff)
	}
}

// mustBeDown fails if anything of the lab is left on the host.
func (l *clabLab) mustBeDown(t *testing.T) {
	t.Helper()
	if c, br, n := l.host.Containers(), l.host.Bridges(), l.host.Networks(); len(c)+len(br)+len(n) != 0 {
		t.Errorf("left on the host: containers %+v, bridges %v, networks %v", c, br, n)
	}
	if _, err := os.Lstat(filepath.Join(l.workdir, "netlab.lock")); err == nil {
		t.Error("netlab.lock is left")
	}
	if entries := l.entries(t); len(entries) != 0 {
		t.Errorf("left in the status file: %v", entries)
	}
}

// mustBeDestroyed fails if anything is left but the files of the user, or one of those is not.
func (l *clabLab) mustBeDestroyed(t *testing.T, files map[string]string) {
	t.Helper()
	l.mustBeDown(t)
	found, err := os.ReadDir(l.workdir)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, entry := range found {
		left[entry.Name()] = true
	}
	for name := range files {
		if !left[name] {
			t.Errorf("%s is gone, which is the user's", name)
		}
		delete(left, name)
	}
	if len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

// entries are those of the status file: directory and status by id.
func (l *clabLab) entries(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(l.statusFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var labs map[string]struct{ Dir, Status string }
	if err := yaml.Unmarshal(content, &labs); err != nil {
		t.Fatal(err)
	}
	entries := map[string]string{}
	for key, lab := range labs {
		entries[key] = lab.Dir + " " + lab.Status
	}
	return entries
}

// remove deletes files of the working directory as somebody with rm would.
func (l *clabLab) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(l.workdir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// generated are what an up leaves in the working directory, but for its manifest.
func generated() []string {
	return []string{
		"ansible.cfg", "clab-lab", "clab.yml", "group_vars", "host_vars", "hosts.yml", "netlab.lock", "netlab.snapshot.pickle",
		"netlab.snapshot.yml", "node_files",
	}
}

// move renames the working directory.
func (l *clabLab) move(t *testing.T) {
	t.Helper()
	to := filepath.Join(l.root, "moved")
	if err := os.Rename(l.workdir, to); err != nil {
		t.Fatal(err)
	}
	l.workdir = to
}
