package exec_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"netlab-runner/internal/exec"
	"netlab-runner/test/people"
)

// sample is a lab that is created by hand and by runs, which have to make the same of it.
type sample struct {
	files     map[string]string // in the working directory; one is topology.yml
	athome    map[string]string // in the user's home
	variables map[string]string // of the environment, besides the usual ones
	quick     bool              // all of its runs are forked: to import Netlab takes long
	exitCode  int
	expected  []string // some of what the command line says and makes, and of the names of its files
}

// outcome is what a create has left and said.
type outcome struct {
	ExitCode int
	Output   string
	Modes    map[string]string // of all that is in the working directory and in the home
	Contents map[string]string // of the working directory's files
}

// lab is a sample that is laid out, for a user of this machine or for the test's own (nil).
type lab struct {
	*bundle
	sample
	who  *person
	home string
}

// lay lays the sample out for runs of n.
func (s sample) lay(t *testing.T, n *exec.Netlab, who *person) *lab {
	t.Helper()
	l := &lab{sample: s, who: who}
	if who != nil {
		l.bundle, l.home = setupFor(t, who, nil), who.home
	} else {
		l.bundle = setup(t, nil)
		l.home = filepath.Join(l.root, "home")
	}
	l.Netlab = n
	write(t, l.home, s.athome)
	l.give(t, l.home)
	l.renew(t)
	return l
}

// write makes files below the directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, name, content)
	}
}

func (l *lab) give(t *testing.T, dir string) {
	t.Helper()
	if l.who != nil {
		l.who.give(t, dir)
	}
}

// renew makes the working directory what it was before anything was generated.
func (l *lab) renew(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(l.workdir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(l.workdir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	write(t, l.workdir, l.files)
	l.give(t, l.workdir)
}

// create is a run with an output of its own.
func (l *lab) create(t *testing.T) exec.Run {
	t.Helper()
	var r exec.Run
	if l.who != nil {
		r = l.runAs(t, l.who, create())
	} else {
		r = l.run(t, create())
	}
	r.Output = filepath.Join(l.root, "output-of-"+filepath.Base(r.Dir))
	for name, value := range l.variables {
		r.Env = append(r.Env, name+"="+value)
	}
	return r
}

// byHand is what the command line makes, and its snapshot once more: where a run has the data of that as YAML.
func (l *lab) byHand(t *testing.T) outcome {
	t.Helper()
	r := l.create(t)
	cmd := osexec.CommandContext(testContext(t), l.Script, "create", "topology.yml")
	if r.User != nil { // has the umask that a run gives it
		cmd = osexec.CommandContext(testContext(t), "/bin/sh", "-c", `umask 022 && exec "$0" create topology.yml`, l.Script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.User}
	}
	cmd.Dir, cmd.Env = l.workdir, r.Env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	made := l.outcome(t, cmd.ProcessState.ExitCode(), string(out))
	if made.ExitCode == 0 {
		made.Modes[snapshotYAML], made.Contents[snapshotYAML] = made.Modes[snapshot], made.Contents[snapshot]
	}
	return made
}

// byRun is what a run makes that is forked. ready says whether it has found the defaults and all of its templates ready.
func (l *lab) byRun(t *testing.T) (made outcome, ready bool) {
	t.Helper()
	l.renew(t)
	r := l.create(t)
	p := l.start(t, r)
	if isChild(p.Pid()) {
		t.Fatal("it was not forked")
	}
	result := wait(t, p)
	made = l.outcome(t, result.ExitCode, readFile(t, r.Output))
	ready = !strings.Contains(readFile(t, filepath.Join(r.Dir, "errors")), `"template"`)
	if l.files["origin.py"] != "" {
		ready = ready && readFile(t, filepath.Join(l.workdir, "origin.txt")) == "netlab_driver.ready"
	}
	return made, ready
}

// byItself is what a run makes that imports Netlab by itself.
func (l *lab) byItself(t *testing.T) outcome {
	t.Helper()
	l.renew(t)
	r := l.create(t)
	result := wait(t, (&bundle{Netlab: l.Cold()}).start(t, r))
	return l.outcome(t, result.ExitCode, readFile(t, r.Output))
}

// isChild says whether the process is one of this one's children. A run that is refused may be over by now.
func isChild(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
}

// outcome looks at what there is now. Left out is what only a run leaves, or only the command line: the manifest, compiled plugins,
// and what origin says of the defaults.
func (l *lab) outcome(t *testing.T, exitCode int, output string) outcome {
	t.Helper()
	o := outcome{ExitCode: exitCode, Output: output, Modes: map[string]string{}, Contents: map[string]string{}}
	skipped := []string{"__pycache__", ".netlab-inputs.json", "origin.txt"}
	for place, dir := range map[string]string{"": l.workdir, "~/": l.home} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			if slices.Contains(skipped, entry.Name()) {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			name := place + strings.TrimPrefix(path, dir+"/")
			o.Modes[name] = info.Mode().String()
			if l.who != nil {
				stat := info.Sys().(*syscall.Stat_t)
				o.Modes[name] += " " + strconv.Itoa(int(stat.Uid)) + ":" + strconv.Itoa(int(stat.Gid))
			}
			if place == "" && info.Mode().IsRegular() {
				o.Contents[name] = readFile(t, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

const (
	snapshot     = "netlab.snapshot.pickle"
	snapshotYAML = "netlab.snapshot.yml"
)

// decode puts what is in them in the place of the snapshots, all but the time of the defaults. That of YAML is in no order.
func (l *lab) decode(t *testing.T, outcomes []outcome) {
	t.Helper()
	dir, paths := t.TempDir(), []string{}
	each := func(do func(o outcome, name, path string)) {
		for i, o := range outcomes {
			for _, name := range []string{snapshot, snapshotYAML} {
				if _, ok := o.Contents[name]; ok {
					do(o, name, filepath.Join(dir, strconv.Itoa(i)+name))
				}
			}
		}
	}
	each(func(o outcome, name, path string) {
		writeFile(t, path, o.Contents[name])
		paths = append(paths, path)
	})
	if len(paths) == 0 {
		return
	}
	l.python(t, `
import json, pickle, sys, yaml
loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
for path in sys.argv[1:]:
    with open(path, "rb") as f:
        text = f.read()
    topology = pickle.loads(text) if text[0] == pickle.PROTO[0] else yaml.load(text, loader)
    del topology["defaults"]["_cache"]["timestamp"]
    with open(path, "w") as f:
        json.dump(topology, f, indent=1, sort_keys=path.endswith(".yml"), default=lambda value: repr(sorted(value, key=repr) if isinstance(value, set) else value))
`, paths...)
	each(func(o outcome, name, path string) { o.Contents[name] = readFile(t, path) })
}

// compare fails unless runs make and say the same of the lab as the command line, whether Netlab and the templates are ready or not.
func (l *lab) compare(t *testing.T) {
	t.Helper()
	want := l.byHand(t)
	if want.ExitCode != l.exitCode || want.ExitCode == 0 && len(want.Contents) < 10 {
		t.Fatalf("the command line has ended with %d and left %d files: %s", want.ExitCode, len(want.Contents), want.Output)
	}
	outcomes := []outcome{want}
	if !l.quick {
		outcomes = append(outcomes, l.byItself(t))
	}
	for ctx, ready := testContext(t), false; !ready; {
		if ctx.Err() != nil {
			t.Fatal("the defaults and the templates do not get ready")
		}
		var made outcome
		made, ready = l.byRun(t)
		outcomes = append(outcomes, made)
	}
	l.decode(t, outcomes)
	all := want.Output
	for name, content := range want.Contents {
		all += "\n" + name + "\n" + content
	}
	for _, part := range l.expected {
		if !strings.Contains(all, part) {
			t.Errorf("%q is in nothing that the command line says or makes", part)
		}
	}
	for i, got := range outcomes[1:] {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by hand, and by run %d of %d:\n%s", i+1, len(outcomes)-1, diff)
		}
	}
}

// packageFolder is where Netlab's package is.
func packageFolder(t *testing.T) string {
	t.Helper()
	const find = "import importlib.util; print(importlib.util.find_spec('netsim').submodule_search_locations[0])"
	out, err := osexec.CommandContext(testContext(t), testPython(t), "-c", find).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// ownTopologies are those of testdata, by their names.
func ownTopologies(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("testdata/topologies/*.yml")
	if err != nil || len(names) == 0 {
		t.Fatalf("%q, %v", names, err)
	}
	topologies := map[string]string{}
	for _, name := range names {
		topologies[filepath.Base(name)] = readFile(t, name)
	}
	return topologies
}

// packagedTopologies are those that come with Netlab's package: its tests, and the examples of its plugins.
func packagedTopologies(t *testing.T) map[string]string {
	t.Helper()
	folder, topologies := packageFolder(t), map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil // what an Ansible of another user has left there
		}
		if err == nil && strings.HasSuffix(path, ".yml") && entry.Type().IsRegular() {
			if text := readFile(t, path); strings.Contains(text, "\nnodes:") && strings.Contains(text, "\nlinks:") {
				topologies[strings.TrimPrefix(path, folder+"/")] = text
			}
		}
		return err
	})
	if err != nil || topologies["templates/tests/clab.yml"] == "" {
		t.Fatalf("%d topologies, %v", len(topologies), err)
	}
	return topologies
}

// homely is a lab with all that Netlab reads besides a topology: defaults of the user and of the directory, templates and plugins in
// both, the environment. mark and number are in each of them.
func homely(mark string, number int) sample {
	marked := func(files map[string]string) map[string]string {
		replacer := strings.NewReplacer("MARK", mark, "NUMBER", strconv.Itoa(number))
		for name, text := range files {
			files[name] = replacer.Replace(text)
		}
		return files
	}
	return sample{
		files: marked(map[string]string{
			"topology.yml": `
provider: clab
module: [ ospf ]
plugin: [ local, visiting, origin ]
nodes:
  r1: { config: [ beside, athome ] }
  r2: { config: [ athome, local ] }  # Netlab's order of those is another one each time where the nodes say nothing of it
links: [ r1-r2 ]
`,
			"topology-defaults.yml": "device: frr\ndevices.frr.clab.image: MARK/frr\naddressing.loopback.ipv4: 10.NUMBER.0.0/24\n",
			"beside/frr.j2":         "! {{ inventory_hostname }} of MARK\n{% set config_module = 'all' %}\n{% include 'missing.j2' %}\n",
			"templates/ospf/frr.j2": "! {{ ospf.area }}, not as Netlab has it, but as MARK\n",
			"local/defaults.yml":    "local.spot: MARK\nlocal.text: { \"1\": \"no\", \"~\": \"1:30\", x: \"\\x85 \\u2028 \\U0001F600\\t\\n \" }\n",
			"local/frr.j2":          "! local of MARK\n",
			"local/__init__.py":     local,
			"origin.py":             origin,
		}),
		athome: marked(map[string]string{
			".netlab.yml": `
device: eos
providers.clab.lab_prefix: MARK
addressing.loopback.ipv4: 10.255.0.0/24
addressing.p2p.ipv4: 10.NUMBER.64.0/18
_include: [ "~/included/*.yml" ]
`,
			"included/spot.yml":     "of: MARK\n",
			"topology-defaults.yml": "device: iol\nospf.area: 0.0.0.NUMBER\n",
			".netlab/athome/frr.j2": "! at home of MARK\n",
			".netlab/beside/frr.j2": "! not found before the one of the directory\n",
			".netlab/visiting.py":   "def init(topology):\n  topology.defaults.visited = 'MARK'\n",
		}),
		expected: []string{
			mark + "/frr", "prefix: \"" + mark + "\"", "! r1 of " + mark + "\nConfiguration template all is missing", "! at home of " + mark, "but as " + mark, "! local of " + mark,
			fmt.Sprintf("10.%d.0.1", number), fmt.Sprintf("10.%d.64.1", number), fmt.Sprintf("! 0.0.0.%d", number),
			`"visited": "` + mark, `"of": "` + mark, `"env": "` + mark, `"spot": "` + mark,
		},
		variables: map[string]string{"NETLAB_SPOT_ENV": mark, "NETLAB_OF_" + strings.ToUpper(mark): "yes"},
	}
}

// local is a plugin that changes the defaults of its run, reads them once more, changes those, and reads them again.
const local = `
import json
from netsim.utils import read
def init(topology):
  defaults = topology.defaults
  for _ in range(2):
    defaults.devices.frr.changed = "MARK"
    defaults.devices.eos.pop("clab", None)
    defaults = read.read_yaml("package:topology-defaults.yml")
  defaults.pop("_cache", None)
  with open("defaults.json", "w") as f:
    json.dump(defaults, f, indent=1, default=str)
`

// otherSamples are labs with whatever else there may be to one.
func otherSamples() map[string]sample {
	only := func(exitCode int, topology string, expected ...string) sample {
		return sample{files: map[string]string{"topology.yml": topology}, exitCode: exitCode, expected: expected}
	}
	failing := only(1, "provider: clab\ndefaults.device: frr\nmodule: [ ospf ]\nnodes: { r1: { config: [ bad ] }, r2: }\nlinks: [ r1-r2 ]\n",
		"Error rendering template bad", "ospf/frr.ospfv2.j2")
	failing.files["bad/frr.j2"] = "{% import 'ospf/frr.ospfv2.j2' as ospfv2 %}\n{{ ospfv2.config(1, False, {}, []) }}\n"
	return map[string]sample{
		"defaults, templates and plugins": homely("mine", 7),
		"tools": only(0, strings.Replace(threeRouters, "frr", "iol", 1)+"module: [ ospf, bgp ]\nbgp.as: 65000\ntools: { graphite: , suzieq: , nuts: }\n",
			"graphite/graphite-default.json", "suzieq/suzieq-inventory.yml", "nuts/tests/test_bgp.yaml"),
		"plugins of the package": only(0, `
provider: clab
defaults.device: frr
plugin: [ fabric, node.clone, files, ospf.areas, multilab ]
defaults.multilab.id: 7
module: [ ospf ]
ospf.areas: [ { area: 0.0.0.1, kind: stub } ]
fabric: { leafs: 2, spines: 1 }
files: { notes/mine.txt: "by the plugin" }
configlets: { extra: "! {{ inventory_hostname }}" }
nodes: { h: { device: linux, module: [], clone.count: 2 } }
links: [ L1-h ]
`, "notes/mine.txt", "by the plugin", "h-02", "stub", "192.168.7."),
		"a link to nothing":          only(1, "provider: clab\ndefaults.device: frr\nnodes: [ r1, r2 ]\nlinks: [ r1-r2, r1-r8, r2-r9 ]\n", "r8", "r9"),
		"attributes that are none":   only(1, threeRouters+"module: [ ospf ]\nospf.hops: 5\nvrfs.red.colour: blue\nnonsense: true\n", "hops", "colour", "nonsense"),
		"a topology that is no YAML": only(1, "nodes: [ r1\n", "Cannot read YAML"),
		"a template that fails":      failing,
	}
}

// pickledDefaults is what the command line leaves in a home, and takes half of its time to make.
func pickledDefaults(t *testing.T) string {
	t.Helper()
	b := setup(t, nil)
	b.python(t, "from netsim.utils import read\nread.system_defaults()")
	return readFile(t, filepath.Join(b.root, "home", ".netlab", "topology-defaults.pickle"))
}

// Netlab's modules make and say the same of a topology, whether somebody runs netlab by hand, a run imports them, or it is forked and
// its defaults and templates are ready.
func TestRunMakesWhatTheCommandLineMakes(t *testing.T) {
	t.Parallel()
	all, own, pickled := otherSamples(), ownTopologies(t), pickledDefaults(t)
	for _, topologies := range []map[string]string{own, packagedTopologies(t)} {
		for name, topology := range topologies {
			all[name] = sample{
				files:  map[string]string{"topology.yml": topology},
				athome: map[string]string{".netlab/topology-defaults.pickle": pickled},
				quick:  own[name] == "",
			}
		}
	}
	for name, s := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.lay(t, kept.netlab(t, testPython(t)), nil).compare(t)
		})
	}
}

// A run makes what the command line makes, whatever other runs have done to their processes and said of their templates before: in
// other directories, with other homes, as other users where there can be any.
func TestNothingOfARunGetsIntoTheNext(t *testing.T) {
	t.Parallel()
	users, python, dir := []*person{nil}, testPython(t), t.TempDir()
	if os.Geteuid() == 0 {
		users, python, dir = append(users, makeUser(t)), kept.publicPython(t), people.Dir(t)
	}
	n, err := exec.Find(testContext(t), python, filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	w := &warmBundle{bundle: &bundle{Netlab: n}, log: &safeBuffer{}}
	w.keep(t, time.Minute)
	for _, who := range users {
		spoiler := homely("spoiler", 9)
		spoiler.files["topology.yml"] += "defaults.netlab.create.plugin: [ witness ]\n"
		spoiler.files["witness.py"] = readFile(t, "testdata/witness.py")
		if made, _ := spoiler.lay(t, n, who).byRun(t); made.ExitCode != 0 || made.Contents["spoiled"] != "all that there is\n" {
			t.Fatalf("exit code %d, spoiled: %q: %s", made.ExitCode, made.Contents["spoiled"], made.Output)
		}
	}
	for _, who := range users {
		homely("victim", 5).lay(t, n, who).compare(t)
	}
}

// The labs of testdata use each of Netlab's modules: a new one wants a lab.
func TestEachModuleHasALab(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(packageFolder(t), "modules", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	modules := []string{}
	for _, file := range files {
		// What initial.yml has is of each device.
		if name := strings.TrimSuffix(filepath.Base(file), ".yml"); name != "initial" {
			modules = append(modules, name)
		}
	}
	used := []string{}
	for name, text := range ownTopologies(t) {
		type modular struct{ Module []string }
		var topology struct {
			modular `yaml:",inline"`
			Nodes   map[string]modular
		}
		if err := yaml.Unmarshal([]byte(text), &topology); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		used = append(used, topology.Module...)
		for _, node := range topology.Nodes {
			used = append(used, node.Module...)
		}
	}
	slices.Sort(used)
	if diff := cmp.Diff(modules, slices.Compact(used)); diff != "" {
		t.Errorf("Netlab's modules, and those of testdata/topologies:\n%s", diff)
	}
}
