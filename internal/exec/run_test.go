package exec_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
	samples "netlab-runner/test/labs"
)

const (
	threeRouters = "provider: clab\ndefaults.device: frr\nnodes: [ r1, r2, r3 ]\nlinks: [ r1-r2, r2-r3, r1-r3 ]\n"
	external     = "provider: external\ndefaults.device: frr\nnodes: [ r1, r2 ]\nlinks: [ r1-r2 ]\n"
)

func create() exec.Command { return exec.Command{Name: "create", Args: []string{"topology.yml"}} }
func up() exec.Command     { return exec.Command{Name: "up", Args: []string{"topology.yml"}} }
func status() exec.Command { return exec.Command{Name: "status"} }

func TestCreate(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": threeRouters})
	p := b.start(t, b.run(t, create()))
	var phases []string
	for phase := range p.Phases() {
		phases = append(phases, phase)
	}
	result := wait(t, p)
	if result.ExitCode != 0 || result.Error != "" || result.HostFault || result.Command != "create" {
		t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
	}
	if len(result.Commands) != 1 || !result.Commands[0].FinishedAt.After(result.Commands[0].StartedAt) {
		t.Errorf("commands: %+v", result.Commands)
	}
	if len(phases) == 0 || phases[len(phases)-1] != "Writing configuration files" || result.Phase != "Writing configuration files" {
		t.Errorf("phases %q, last %q", phases, result.Phase)
	}
	for _, name := range []string{
		"netlab.snapshot.pickle", "netlab.snapshot.yml", "clab.yml", "hosts.yml", "ansible.cfg", "node_files/r1", "host_vars/r3",
	} {
		if _, err := os.Stat(filepath.Join(b.workdir, name)); err != nil {
			t.Error(err)
		}
	}
	mustContain(t, readFile(t, b.output()), "Created provider configuration file: clab.yml")
	if info, err := os.Stat(b.output()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("output: %v, %v", info.Mode(), err)
	}

	// The same data as Netlab's own yaml output, but for the time of its defaults.
	b.python(t, `
import sys
from netsim.cli import lab_commands
sys.argv = ["netlab", "create", "-o", "config", "-o", "provider", "-o", "yaml=own.yml", "topology.yml"]
lab_commands(sys.argv[0])
`)
	b.python(t, `
import yaml
own, ours = yaml.safe_load(open("own.yml")), yaml.safe_load(open("netlab.snapshot.yml"))
for data in own, ours:
    del data["defaults"]["_cache"]
    del data["defaults"]["outputs"]  # where Netlab notes which outputs it was asked for
different = sorted(k for k in {*own, *ours} if own.get(k) != ours.get(k))
assert own == ours, (different, {k: (own.get(k), ours.get(k)) for k in different if k != "defaults"})
`)
}

func TestFailuresNameTheCause(t *testing.T) {
	t.Parallel()
	plugin := func(body string) map[string]string {
		return map[string]string{
			"topology.yml": threeRouters + "plugin: [ chatter ]\n",
			"chatter.py":   "def init(topology):\n  " + body + "\n",
		}
	}
	for name, c := range map[string]struct {
		files    map[string]string
		up       bool // instead of create
		args     []string
		exitCode int
		want     string // a regular expression for the whole error
	}{
		"unknown module": {
			files: map[string]string{"topology.yml": threeRouters + "module: [ telepathy ]\n"}, exitCode: 1,
			want: `(?s)^\w+ in \w+: .*telepathy.*`,
		},
		"unknown node": {
			files:    map[string]string{"topology.yml": "provider: clab\ndefaults.device: frr\nnodes: [ r1 ]\nlinks: [ r1-r9 ]\n"},
			exitCode: 1, want: `(?s)^\w+ in \w+: .*r9.*`,
		},
		"no topology": {exitCode: 1, want: `Fatal error in create: Topology file topology.yml does not exist`},
		"not YAML":    {files: map[string]string{"topology.yml": "nodes: [ r1\n"}, exitCode: 1, want: `(?s).*Cannot read YAML from.*`},
		"bad argument": {
			args: []string{"--telepathy"}, exitCode: 2, want: `netlab create: unrecognized arguments: --telepathy`,
		},
		"traceback":    {files: plugin("1 / 0"), exitCode: 1, want: `ZeroDivisionError: division by zero`},
		"exit text":    {files: plugin("import sys; sys.exit('enough')"), exitCode: 1, want: `enough`},
		"silent exit":  {files: plugin("import sys; sys.exit(7)"), exitCode: 7, want: `netlab create ended with exit code 7`},
		"signal":       {files: plugin("import os; os.kill(os.getpid(), 9)"), exitCode: 137, want: `netlab create was killed by signal 9 \(SIGKILL\)`},
		"question":     {files: plugin("from netsim.utils import strings; strings.confirm('Sure?')"), exitCode: 1, want: `Fatal error in netlab: Netlab asked "Sure\? \[y/n\]:", which a job cannot answer`},
		"exit(0)":      {files: plugin("import sys; sys.exit(0)"), exitCode: 1, want: `Netlab ended with exit code 0 before it was done.*`},
		"_exit(0)":     {files: plugin("import os; os._exit(0)"), exitCode: 1, want: `Netlab ended with exit code 0 before it was done.*`},
		"_exit(0), up": {up: true, files: plugin("import os; os._exit(0)"), exitCode: 1, want: `Netlab ended with exit code 0 before it was done.*`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.files)
			args := c.args
			if args == nil {
				args = []string{"topology.yml"}
			}
			command := exec.Command{Name: "create", Args: args}
			if c.up {
				command.Name = "up"
			}
			result := b.finish(t, command, status())
			if result.ExitCode != c.exitCode || !regexp.MustCompile("^"+c.want+"$").MatchString(result.Error) || result.HostFault {
				t.Errorf("%+v\n%s", result, readFile(t, b.output()))
			}
			if strings.Contains(result.Error, "Cannot proceed beyond this point") {
				t.Errorf("an error that says nothing: %s", result.Error)
			}
			if c.exitCode != 0 && (len(result.Commands) != 1 || result.Command != command.Name) {
				t.Errorf("the run went on after a failure: %+v", result.Commands)
			}
		})
	}
}

func TestExternalLabFromUpToDown(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": external})
	b.fakePlaybooks(t, "0")
	b.mustSucceed(t, up())
	// Without -q, so that the log has the cabling.
	mustContain(t, readFile(t, b.output()), "Do you want to continue [y/n]: y", "POINT-TO-POINT LINKS", "playbook initial-config.ansible")
	// Of netlab initial too, which up starts by itself.
	mustContain(t, readFile(t, b.statusFile), "deploying configuration: complete configuration")
	mustContain(t, readFile(t, b.statusFile), b.workdir, "status: started")
	if _, err := os.Stat(filepath.Join(b.root, "home", ".netlab", "status.yaml")); !os.IsNotExist(err) {
		t.Errorf("a command used Netlab's own status file: %v", err)
	}
	for _, name := range []string{"netlab.lock", "netlab.snapshot.yml"} {
		if _, err := os.Stat(filepath.Join(b.workdir, name)); err != nil {
			t.Error(err)
		}
	}
	// The very tarball that is asked for. One that goes with the directory is no success.
	collect := func(tarball string) exec.Command {
		return exec.Command{Name: "collect", Args: []string{"--output=config", "--tar=" + tarball, "--cleanup"}}
	}
	b.mustSucceed(t, collect("all.tgz"))
	if _, err := os.Stat(filepath.Join(b.workdir, "all.tgz")); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("config", filepath.Join(b.workdir, "alias")); err != nil {
		t.Fatal(err)
	}
	if result := b.finish(t, collect("alias/all.tgz")); result.ExitCode == 0 { // where tar does not fail itself, packing what it writes
		t.Errorf("%+v", result)
	}

	before := len(readFile(t, b.output()))
	b.mustSucceed(t, status())
	rows := samples.StatusRows(readFile(t, b.output())[before:])
	if len(rows) != 3 {
		t.Fatalf("rows: %q", rows)
	}
	if diff := cmp.Diff([]string{"node", "device", "provider", "status", "image", "mgmt IPv4"}, rows[0][:6]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"r1", "frr", "external", "", "none", "192.168.121.101"}, rows[1][:6]); diff != "" {
		t.Error(diff)
	}

	b.mustSucceed(t, exec.Command{Name: "down", Args: []string{"--cleanup"}})
	if text := readFile(t, b.statusFile); strings.Contains(text, b.workdir) {
		t.Errorf("the lab is still there: %s", text)
	}
	before = len(readFile(t, b.output()))
	b.mustSucceed(t, exec.Command{Name: "down"}, status())
	mustContain(t, readFile(t, b.output())[before:], "not found", "No netlab-managed labs")
}

func TestNestedCommandTellsItsCause(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": external})
	b.fakePlaybooks(t, "4")
	result := b.finish(t, up())
	want := "FatalError in initial: Configuration deployment failed\nFatal error in netlab up: netlab initial failed, aborting..."
	if result.ExitCode != 1 || result.Error != want || result.Phase != "Config Deploying device configurations" {
		t.Errorf("%+v", result)
	}
	// The lab is half started.
	before := len(readFile(t, b.output()))
	b.mustSucceed(t, status())
	mustContain(t, readFile(t, b.output())[before:], "│ r1   │ frr ", "deploying configuration")
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("NETLAB_DEVICE", "cumulus")
	t.Setenv("EXEC_TEST_SECRET", "x")
	b := setup(t, map[string]string{
		"topology.yml": threeRouters + "plugin: [ chatter ]\n",
		"chatter.py": `
import json, os, time
with open("environ.json", "w") as f:
  json.dump([time.localtime(0).tm_hour, dict(os.environ), [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)], os.readlink("/proc/self/fd/0"), os.getsid(0)], f)
`,
	})
	// A descriptor that whoever started this process left open in it.
	careless, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer careless.Close()
	if _, err := unix.FcntlInt(careless.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	r := b.run(t, create())
	r.Env = b.env(map[string]string{"NETLAB_FOO": "1", "ANSIBLE_TIMEOUT": "de_DE", "TZ": "JST-9"})
	p := b.start(t, r)
	if result := wait(t, p); result.ExitCode != 0 {
		t.Fatalf("%+v", result)
	}
	got := b.python(t, `
import json
hour, env, fds, stdin, sid = json.load(open("environ.json"))
print(sorted(env)); print(hour, env["PWD"], env["ANSIBLE_TIMEOUT"], env["NETLAB_FOO"], stdin, sid, fds.count("/dev/null"))
`)
	want := "['ANSIBLE_NOCOLOR', 'ANSIBLE_TIMEOUT', 'CLAB_VERSION_CHECK', 'COLUMNS', 'HOME', 'LANG', 'LOGNAME', 'NETLAB_FOO', 'NO_COLOR', 'PATH', " +
		"'PWD', 'PYTHONIOENCODING', 'PYTHONUNBUFFERED', 'TERM', 'TZ', 'USER']\n9 "
	mustContain(t, got, want, b.workdir+" de_DE 1 /dev/null ", " 1\n")
	for _, name := range []string{"plan.json", "driver.json", "progress", "result.json"} {
		if strings.Contains(readFile(t, filepath.Join(r.Dir, name)), "de_DE") {
			t.Errorf("%s holds a value of the environment", name)
		}
	}
}

func TestHostFaults(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r := b.run(t, create())
	r.Workdir = filepath.Join(b.root, "nowhere")
	if result := wait(t, b.start(t, r)); result.ExitCode != 1 || !result.HostFault {
		t.Errorf("%+v", result)
	} else {
		mustContain(t, result.Error, r.Workdir, "No such file or directory")
	}
	if _, err := b.Start(r); err == nil {
		t.Error("a run began twice")
	}
}

func TestInterruptedStatusWriteLosesNoLab(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"topology.yml": external + "plugin: [ chatter ]\n",
		"chatter.py": `
import os, signal
from netsim.utils import strings
def init(topology):
  strings.get_yaml_string = lambda x: os.kill(os.getpid(), signal.SIGINT)
`,
	})
	labs := "other:\n  dir: /srv/other\n  providers: []\n  status: started\n"
	writeFile(t, b.statusFile, labs)
	if result := b.finish(t, up()); result.ExitCode == 0 {
		t.Errorf("%+v", result)
	}
	if diff := cmp.Diff(labs, readFile(t, b.statusFile)); diff != "" {
		t.Error(diff)
	}
}
