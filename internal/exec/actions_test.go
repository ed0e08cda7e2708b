package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// An external lab has no containers, so it is quick to start.
func externalLab(t *testing.T, files map[string]string) *clabLab {
	t.Helper()
	l := clab(t, files)
	host := l.path
	l.fakePlaybooks(t, "0")
	l.path += ":" + host
	return l
}

func TestUpOfAnUnchangedLabTouchesNothing(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{
		"topology.yml": external + "plugin: [ colour ]\ndefaults.sources.extra: [ more.yml ]\n",
		"more.yml":     "message: { initial: more }\n",
		"colour.py":    "def init(topology):\n  pass\n",
	})
	l.must(t, "up")
	const untouched = "runs and is unchanged, nothing to do"
	mustContain(t, l.must(t, "up"), untouched)
	if err := os.Remove(filepath.Join(l.workdir, ".netlab-inputs.json")); err != nil {
		t.Fatal(err)
	}
	mustContain(t, l.must(t, "up"), untouched) // as of a lab that was started by hand
	// Its snapshot as YAML, which clients read after each up, is made where it is missing or older than the lab, and only there.
	snapshot := filepath.Join(l.workdir, "netlab.snapshot.yml")
	want := readFile(t, snapshot)
	old := time.Unix(1_600_000_000, 0)
	for what, spoil := range map[string]func() error{
		"removed": func() error { return os.Remove(snapshot) },
		"old": func() error {
			return errors.Join(os.WriteFile(snapshot, []byte("old"), 0o644), os.Chtimes(snapshot, old, old))
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if mustContain(t, l.must(t, "up"), untouched); readFile(t, snapshot) != want {
			t.Errorf("%s: %s is not as it was", what, snapshot)
		}
	}
	writeFile(t, snapshot, "newer")
	if mustContain(t, l.must(t, "up"), untouched); readFile(t, snapshot) != "newer" {
		t.Errorf("%s was made again", snapshot)
	}
	l.must(t, "restart")
	if readFile(t, snapshot) == "newer" {
		t.Errorf("after restart %s is the old one", snapshot)
	}

	// A file with other times and the same content is the same.
	writeFile(t, l.workdir+"/colour.py", readFile(t, l.workdir+"/colour.py"))
	mustContain(t, l.must(t, "up"), untouched)
	// What is no input does not count.
	writeFile(t, l.workdir+"/notes.md", "new")
	mustContain(t, l.must(t, "up"), untouched)

	for _, c := range []struct{ file, content, says string }{
		{"colour.py", "def init(topology):\n  print('blue')\n", "colour.py has changed"},
		{"topology-defaults.yml", "device: linux\n", "topology-defaults.yml is new"},
		{"templates/x.j2", "x\n", "the template templates/x.j2 has changed"},
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(l.workdir, c.file)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(l.workdir, c.file), c.content)
		mustContain(t, l.must(t, "up"), c.says, "generated anew")
	}
	// By their times, where nobody has noted what the lab was made of.
	if err := os.Remove(filepath.Join(l.workdir, ".netlab-inputs.json")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, l.workdir+"/more.yml", "message: { initial: more }\n")
	mustContain(t, l.must(t, "up"), "more.yml is newer than the lab")
	// A lab that cannot come up here, since its provider is missing, takes down nothing.
	before := l.entries(t)
	l.host.SetKnob("containerlab version", standins.Knob{Fail: 127})
	writeFile(t, l.workdir+"/topology.yml", bridged)
	result, log := l.act(t, "restart")
	if diff := cmp.Diff(before, l.entries(t)); diff != "" || !strings.Contains(result.Error, "Containerlab is not installed") {
		t.Errorf("%+v\n%s\n%s", result, diff, log)
	}
	l.must(t, "destroy")
	l.mustBeDestroyed(t, map[string]string{
		"topology.yml": "", "more.yml": "", "colour.py": "", "notes.md": "", "topology-defaults.yml": "", "templates": "",
	})
}

func TestBrokenTopologyTakesNothingDown(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	before := l.host.Containers()
	writeFile(t, l.workdir+"/topology.yml", bridged+"module: [ telepathy ]\n")
	for _, name := range []string{"up", "restart"} {
		result, log := l.act(t, name)
		if result.ExitCode != 1 || len(result.Errors) != 1 || result.Errors[0].File != "topology.yml" {
			t.Errorf("%s: %+v\n%s", name, result, log)
		}
		mustContain(t, result.Error, "telepathy")
	}
	if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
		t.Error(diff)
	}
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// A refused lab is left as it is, with the one that was there before.
func TestRefusedUpTouchesNothing(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	writeFile(t, l.workdir+"/topology.yml", bridged+"name: other\n")
	before, files := l.host.Containers(), readFile(t, l.workdir+"/clab.yml")
	r := l.run(t, action("up"))
	r.Ask = true
	p := l.start(t, r)
	var question struct {
		Instance, Name, Dir, Provider  string
		Containers, Addresses, Bridges []string
		Networks                       []struct{ Name, Subnet string }
	}
	if err := json.Unmarshal(<-p.Asks(), &question); err != nil {
		t.Fatal(err)
	}
	if question.Instance != "default" || question.Name != "other" || question.Dir != l.workdir || question.Provider != "clab" ||
		len(question.Containers) != 3 || question.Containers[0] != "clab-other-h1" || question.Addresses[2] != "192.168.121.103" ||
		question.Bridges[0] != "other_1" || question.Networks[0].Name != "netlab_mgmt" || question.Networks[0].Subnet != "192.168.121.0/24" {
		t.Errorf("%+v", question)
	}
	if err := p.Answer("the lab in /srv/x has that name"); err != nil {
		t.Fatal(err)
	}
	result := wait(t, p)
	if result.ExitCode != 1 || !result.Invalid || result.Error != "the lab in /srv/x has that name" {
		t.Errorf("%+v\n%s", result, readFile(t, l.output()))
	}
	if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
		t.Error(diff)
	}
	if readFile(t, l.workdir+"/clab.yml") != files {
		t.Error("clab.yml was written")
	}

	// Both names are of this directory: the old lab goes when the new one comes.
	r = l.run(t, action("up"))
	r.Ask = true
	p = l.start(t, r)
	<-p.Asks()
	if err := p.Answer(""); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v\n%s", result, readFile(t, l.output()))
	}
	if diff := cmp.Diff([]string{"clab-other-h1", "clab-other-h2", "clab-other-h3"}, l.running()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"other_1"}, l.host.Bridges()); diff != "" {
		t.Error(diff)
	}
}

func TestRestartKeepsWhatTheLabWasMadeWith(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{
		"other.yml": strings.Replace(external, "provider: external\n", "", 1),
		"colour.py": "def init(topology):\n  print('blue')\n",
	})
	r := l.run(t, exec.Command{Name: "up", Args: []string{"--plugin=colour", "--provider=external"}, Topology: "other.yml"})
	r.Env = l.env(map[string]string{"NETLAB_PLUGIN": "[multilab]", "NETLAB_MULTILAB_ID": "7"})
	if result := wait(t, l.start(t, r)); result.ExitCode != 0 {
		t.Fatalf("%+v\n%s", result, readFile(t, l.output()))
	}
	want := map[string]string{"7": l.workdir + " started"}
	for range 2 {
		before := len(readFile(t, l.output()))
		l.mustSucceed(t, exec.Command{Name: "restart"})
		mustContain(t, readFile(t, l.output())[before:], "blue")
		if diff := cmp.Diff(want, l.entries(t)); diff != "" {
			t.Error(diff)
		}
		// As if it had been made by hand, and another one by a job before.
		writeFile(t, l.workdir+"/.netlab-inputs.json", `{"version":1,"identity":{},"args":["--provider=clab","none.yml"]}`)
	}
	// What a request names is its own, and only that: here it is an id, for a lab that was made by hand.
	before := len(readFile(t, l.output()))
	l.mustSucceed(t, exec.Command{Name: "restart", Args: []string{"--plugin=multilab", "-s", "defaults.multilab.id=8"}})
	mustContain(t, readFile(t, l.output())[before:], "blue")
	if diff := cmp.Diff(map[string]string{"8": l.workdir + " started"}, l.entries(t)); diff != "" {
		t.Error(diff)
	}
	// A plugin that is gone is named, and the lab stays.
	l.mustSucceed(t, exec.Command{Name: "up", Args: []string{"--plugin=colour", "--provider=external"}, Topology: "other.yml"})
	l.remove(t, "colour.py")
	result := l.finish(t, exec.Command{Name: "restart"})
	log := readFile(t, l.output())
	if result.ExitCode != 1 || !strings.Contains(log+result.Error, "colour") || len(l.entries(t)) != 1 {
		t.Errorf("%+v\n%s", result, log)
	}
}

// The options of a restart, of what the lab has and what the request names.
func TestRestartMergesOptions(t *testing.T) {
	t.Parallel()
	cases := []struct{ Lab, Request, Want string }{
		{"--plugin=multilab --plugin=mine -s ID=7", "", "--plugin=multilab --plugin=mine -s ID=7"},
		{"--plugin=multilab --plugin=mine -s ID=7", "--plugin=multilab -s ID=7", "--plugin=multilab --plugin=mine -s ID=7"},
		{"--plugin=multilab --plugin=mine -s ID=7", "--plugin=mine", "--plugin=mine --plugin=multilab -s ID=7"},
		{"--plugin=mine --plugin=multilab -s ID=7", "--plugin=other --plugin=multilab -s ID=8", "--plugin=other --plugin=multilab -s ID=8"},
		{"--plugin=mine --provider=external", "--plugin=multilab -s ID=8", "--plugin=mine --plugin=multilab --provider=external -s ID=8"},
		{"--provider=external", "--plugin=mine", "--plugin=mine --provider=external"},
		{"", "--plugin=mine", "--plugin=mine"},
	}
	asked, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	out := setup(t, nil).driver(t, `
from netlab_driver import keep
def options(text):
    return text.replace("ID", "defaults.multilab.id").split()
print(json.dumps([" ".join(keep.merged(options(c["Request"]), options(c["Lab"]))) for c in json.loads(sys.argv[2])]))
`, string(asked))
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if text := strings.ReplaceAll(got[i], "defaults.multilab.id", "ID"); text != c.Want {
			t.Errorf("a lab of %q and a request of %q: %q, want %q", c.Lab, c.Request, text, c.Want)
		}
	}
}

// The plugin is in a file that Netlab alone knows to read.
func TestAnIDForALabThatWantsOne(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{"topology.yml": external, "topology-defaults.yml": "plugin: [ multilab ]\n"})
	if result, log := l.act(t, "up"); !result.Invalid || !strings.Contains(result.Error, "send multilabId") || !strings.Contains(log, result.Error) {
		t.Errorf("%+v\n%s", result, log)
	}
	up := action("up")
	up.FreeID = "5"
	for _, command := range []exec.Command{up, {Name: "restart"}} {
		l.mustSucceed(t, command)
		if diff := cmp.Diff(map[string]string{"5": l.workdir + " started"}, l.entries(t)); diff != "" {
			t.Errorf("%s: %s", command.Name, diff)
		}
	}
	// One of the job's own comes first.
	up.Args = []string{"--plugin=multilab", "-s", "defaults.multilab.id=6"}
	l.mustSucceed(t, up)
	if diff := cmp.Diff(map[string]string{"6": l.workdir + " started"}, l.entries(t)); diff != "" {
		t.Error(diff)
	}
}

func TestCreateLeavesALabAlone(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{"topology.yml": external})
	l.must(t, "up")
	result, log := l.act(t, "create")
	if result.ExitCode != 1 {
		t.Errorf("%+v\n%s", result, log)
	}
	mustContain(t, result.Error, "Cannot create configuration files in a locked directory", l.workdir, "down or destroy")
	l.must(t, "down")
	l.must(t, "create")
}

func TestCollectNeedsALab(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	for range 2 { // nothing there, then one that does not run
		result, log := l.act(t, "collect", "--output=config")
		if result.ExitCode != 1 || !strings.Contains(result.Error, "not found") || !strings.Contains(result.Error, "(up)") {
			t.Errorf("%+v\n%s", result, log)
		}
		l.must(t, "create")
	}
	if _, err := os.Stat(l.workdir + "/config"); err == nil {
		t.Error("config was made")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	l := clab(t, map[string]string{
		"topology.yml": bridged, "broken.yml": "provider: clab\ndefaults.device: frr\nnodes: [ r1 ]\nlinks: [ r1-r8, r1-r9 ]\n",
		"multilab.yml": bridged + "plugin: [ multilab ]\n",
		"no.yml":       "nodes: [ r1\n", "crash.yml": bridged + "plugin: [ crash ]\n",
		"crash.py": "import os\ndef init(topology):\n  open('notes.txt', 'a').write('x')\n  open('sub/notes.txt', 'a').write('x')\n" +
			"  print('generated in', os.getcwd(), flush=True)\n  1 / 0\n",
		"exit.yml": bridged + "plugin: [ quit ]\n", "quit.py": "import os\ndef init(topology):\n  os._exit(0)\n",
		"notes.txt": "mine\n", "Vagrantfile": "mine\n",
		"two.yml":      "provider: libvirt\ndefaults.device: cumulus\nnodes: { a: {}, h: { device: linux, provider: clab } }\nlinks: [ a-h ]\n",
		"template.yml": "provider: clab\ndefaults.device: linux\nnodes: [ h1 ]\n" + "groups: { all: { config: [ bad ] } }\n", "bad.j2": "{% if %}\n",
	})
	if err := os.Mkdir(l.workdir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, l.workdir+"/sub/notes.txt", "mine\n")
	l.must(t, "up")
	before := listing(t, l.workdir)
	if result := l.finish(t, exec.Command{Name: "validate", Topology: "two.yml"}); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
	l.must(t, "validate")
	l.mustSucceed(t, exec.Command{Name: "validate", Topology: "multilab.yml"}) // as an up, which would get a free id
	for file, want := range map[string][]jobs.Problem{
		"broken.yml":   {{File: "broken.yml", Text: "r8"}, {File: "broken.yml", Text: "r9"}},
		"no.yml":       {{File: "no.yml", Text: "Cannot read YAML"}},
		"crash.yml":    {{File: "crash.yml", Text: "ZeroDivisionError: division by zero"}},
		"template.yml": {{File: "template.yml", Text: "bad"}},
		"exit.yml":     {}, // an error of no file
		"none.yml":     {{File: "none.yml", Text: "does not exist"}},
	} {
		result := l.finish(t, exec.Command{Name: "validate", Topology: file})
		if result.ExitCode == 0 || len(result.Errors) != len(want) {
			t.Errorf("%s: %+v", file, result)
			continue
		}
		for i, problem := range result.Errors {
			if problem.File != want[i].File || !strings.Contains(problem.Text, want[i].Text) {
				t.Errorf("%s: %+v", file, problem)
			}
			if strings.Contains(result.Error+problem.Text, l.root) {
				t.Errorf("%s: the path of the copy is shown: %+v", file, result)
			}
		}
	}
	if diff := cmp.Diff(before, listing(t, l.workdir)); diff != "" {
		t.Errorf("validate touched the lab: %s", diff)
	}
	// In the run's own directory, which goes with the job, and by the name of the lab's.
	if made := regexp.MustCompile(`generated in (.*)`).FindStringSubmatch(readFile(t, l.output())); made == nil ||
		!strings.HasPrefix(made[1], l.root+"/run-") || filepath.Base(made[1]) != "lab" {
		t.Errorf("%v", made)
	}
	if len(l.running()) != 3 {
		t.Errorf("%v", l.running())
	}
}

// listing is every file below dir with its size and time.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			files[path] = info.ModTime().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Programs that a take-down needs fail.
func TestTakeDownThatCannot(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	fails := func(knob, name string, want ...string) {
		t.Helper()
		result, log := l.act(t, name)
		if result.ExitCode == 0 {
			t.Errorf("%s with %s: %s", name, knob, log)
		}
		mustContain(t, result.Error, want...)
		if _, err := os.Stat(l.workdir + "/netlab.snapshot.pickle"); err != nil {
			t.Errorf("%s with %s: %v", name, knob, err)
		}
	}
	l.host.SetKnob("docker ps", standins.Knob{Fail: 1, Stderr: "Cannot connect to the Docker daemon\n"})
	before := l.host.Containers()
	for _, name := range []string{"up", "down", "destroy", "restart"} {
		fails("docker ps", name, "Docker cannot be asked", "Cannot connect to the Docker daemon", "start Docker")
	}
	if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
		t.Error(diff)
	}
	l.host.SetKnob("docker ps")

	l.host.SetKnob("containerlab version", standins.Knob{Fail: 127})
	fails("containerlab version", "down", "Containerlab is not installed", "clab-lab-h1, clab-lab-h2, clab-lab-h3", "netlab_mgmt", "lab_1", "destroy")
	l.host.SetKnob("containerlab version")

	l.host.SetKnob("containerlab destroy", standins.Knob{Fail: 1, Partial: 1, Stderr: "no way\n"})
	fails("containerlab destroy", "down", "clab-lab-h2, clab-lab-h3", "destroy")
	fails("containerlab destroy", "restart", "clab-lab-h3", "destroy")
	l.host.SetKnob("docker rm", standins.Knob{Fail: 1, Stderr: "device is busy\n"})
	l.host.SetKnob("containerlab destroy", standins.Knob{Fail: 1, Stderr: "no way\n"})
	fails("docker rm", "destroy", "clab-lab-h3", "device is busy")
	l.host.SetKnob("docker rm")
	l.host.SetKnob("sudo ip link del", standins.Knob{Fail: 1, Stderr: "sudo: a password is required\n"})
	fails("sudo ip link del", "destroy", "bridge lab_1", "a password is required")
	l.host.SetKnob("sudo ip link del")
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// Two directories of one name, as two users may have them: what is done in one leaves the other's lab alone.
func TestTakeDownLeavesTheOtherLabAlone(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	mine := l.workdir
	l.workdir = filepath.Join(l.root, "elsewhere", "lab")
	if err := os.MkdirAll(filepath.Dir(l.workdir), 0o755); err != nil {
		t.Fatal(err)
	}
	copyTree(t, mine, l.workdir) // with its lock, snapshot and manifest
	before := l.host.Containers()
	for _, name := range []string{"down", "destroy"} {
		l.must(t, name)
		if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(map[string]string{"default": mine + " started"}, l.entries(t)); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
	}
	if _, err := os.Stat(l.workdir + "/netlab.lock"); err == nil {
		t.Error("netlab.lock is left")
	}
	l.workdir = mine
	l.mustRun(t)
	// Nor does a copy take the lab for its own where the original was moved: that one has the lab.
	copied := filepath.Join(l.root, "copied")
	copyTree(t, mine, copied)
	l.move(t)
	moved := l.workdir
	l.workdir = copied
	mustContain(t, l.must(t, "destroy"), "is a copy of the directory "+mine, "left alone: clab-lab-h")
	l.mustHave(t, before, "destroy in a copy")
	l.workdir = moved
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}
