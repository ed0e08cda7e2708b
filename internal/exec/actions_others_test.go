package exec_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/exec"
	"netlab-runner/test/standins"
)

// programAs runs a stand-in in the working directory as a user of that name at a terminal.
func (l *clabLab) programAs(t *testing.T, user string, words ...string) {
	t.Helper()
	cmd := osexec.CommandContext(testContext(t), filepath.Join(l.host.Path(), words[0]), words[1:]...)
	cmd.Dir = l.workdir
	cmd.Env = []string{"PATH=" + filepath.Dir(l.Python) + ":/usr/bin:/bin", "USER=" + user}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// startedBy brings up the lab in the working directory, as a user of that name at a terminal.
func (l *clabLab) startedBy(t *testing.T, user string) {
	t.Helper()
	l.must(t, "create")
	l.programAs(t, user, "sudo", "ip", "link", "add", "name", "lab_1", "type", "bridge")
	l.programAs(t, user, "containerlab", "deploy", "-t", "clab.yml")
	writeFile(t, l.workdir+"/netlab.lock", "")
}

func (l *clabLab) mustHave(t *testing.T, before []standins.Container, after string) {
	t.Helper()
	if diff := cmp.Diff(before, l.host.Containers()); diff != "" {
		t.Errorf("after %s: %s", after, diff)
	}
}

// Somebody else's lab has the name of this one, and runs on though its directory has another name by now.
func TestTakeDownLeavesAMovedLabOfSomebodyElseAlone(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.startedBy(t, "other")
	l.move(t)
	before := l.host.Containers()
	l.workdir = filepath.Join(l.root, "mine", "lab")
	writeTree(t, l.workdir, owned())
	l.must(t, "create")
	for _, name := range []string{"down", "destroy"} {
		l.must(t, name)
		l.mustHave(t, before, name)
	}
}

// Somebody else's lab was started in a directory of this path, which was moved since.
func TestPathOfSomebodyElsesLab(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.startedBy(t, "other")
	path := l.workdir
	l.move(t)
	moved := l.workdir
	before := l.host.Containers()
	l.workdir = path
	writeTree(t, l.workdir, owned())
	for _, name := range []string{"down", "destroy"} {
		mustContain(t, l.must(t, name), "of user other", "left alone", "clab-lab-h1")
		l.mustHave(t, before, name)
	}
	for _, name := range []string{"up", "restart", "create"} {
		result, log := l.act(t, name)
		if result.ExitCode != 1 || !result.Invalid {
			t.Errorf("%s: %+v\n%s", name, result, log)
		}
		mustContain(t, result.Error, "containers of user other", "in another directory")
		l.mustHave(t, before, name)
	}
	// Where the lab is now, it is a lab as any other.
	l.workdir = moved
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// The directory with all that is in it was given to another user while the lab ran.
func TestLabThatWasHandedOver(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.startedBy(t, "other")
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// Another user, root say, has started the lab in its user's directory, and the lock is gone: the snapshot says whose these
// containers are.
func TestLabThatAnotherHasStarted(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.startedBy(t, "other")
	l.remove(t, "netlab.lock")
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// An entry says that a lab is started which somebody else has taken down, who could not write this file.
func TestEntryOfALabThatIsOver(t *testing.T) {
	t.Parallel()
	over := t.TempDir()
	entry := "default:\n  dir: " + over + "\n  status: started\n  providers: [ %s ]\n"
	write := func(l *clabLab, provider string) {
		writeFile(t, l.statusFile, strings.Replace(entry, "%s", provider, 1))
	}
	l := clab(t, owned())
	write(l, "clab")
	mustContain(t, l.must(t, "up"), "belongs to no lab any more")
	l.mustRun(t)
	l.must(t, "destroy")

	for why, spoil := range map[string]func(){
		"a lock":             func() { writeFile(t, over+"/netlab.lock", "") },
		"a snapshot":         func() { writeFile(t, over+"/netlab.snapshot.pickle", "") },
		"another's provider": func() { write(l, "libvirt") },
	} {
		write(l, "clab")
		spoil()
		result, log := l.act(t, "up")
		if result.ExitCode != 1 || !result.Invalid || !strings.Contains(result.Error, "already running in "+over) {
			t.Errorf("%s: %+v\n%s", why, result, log)
		}
		for _, name := range []string{"netlab.lock", "netlab.snapshot.pickle"} {
			_ = os.Remove(filepath.Join(over, name))
		}
	}
}

// Beside a topology of Netlab's, a user may have a lab of containerlab's own.
func TestLabOfContainerlabsInTheSameDirectory(t *testing.T) {
	t.Parallel()
	const own = "name: mine\nmgmt: { network: own, ipv4-subnet: 10.9.9.0/24 }\ntopology:\n  nodes:\n    x1: { kind: linux, image: alpine, mgmt-ipv4: 10.9.9.2 }\n"
	l := clab(t, map[string]string{"topology.yml": bridged, "mine.clab.yml": own})
	l.programAs(t, "tester", "containerlab", "deploy", "-t", "mine.clab.yml")
	for _, name := range []string{"destroy", "up", "restart", "down", "up", "destroy"} {
		l.must(t, name)
		count := map[string]int{"up": 4, "restart": 4}[name]
		containers := l.host.Containers()
		if len(containers) != max(count, 1) || containers[len(containers)-1].Name != "clab-mine-x1" || containers[len(containers)-1].State != "running" {
			t.Fatalf("after %s: %+v", name, containers)
		}
		if _, err := os.Stat(l.workdir + "/clab-mine/ansible-inventory.yml"); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
	}
	if networks := l.host.Networks(); len(networks) != 1 || networks[0] != "own" {
		t.Error(networks)
	}
}

// What only looks like Netlab's stays where no lab ever was.
func TestDestroyLeavesTheUsersFiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"topology.yml": bridged, "clab.yml": "name: mine\n", "hosts.yml": "all: {}\n", "config/precious.j2": "mine\n",
		"host_vars/h1/p.yml": "a: b\n", "node_files/x": "y\n", "clab-mine/notes": "z\n",
	}
	l := clab(t, map[string]string{})
	writeTree(t, l.workdir, files)
	before := listing(t, l.workdir)
	mustContain(t, l.must(t, "destroy"), "not found", "clab.yml", "hosts.yml", "left alone")
	if diff := cmp.Diff(before, listing(t, l.workdir)); diff != "" {
		t.Error(diff)
	}
}

func TestNetworkThatSomebodyElseUses(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.must(t, "up")
	l.programAs(t, "tester", "docker", "run", "-d", "--name", "extra", "--network", "netlab_mgmt", "alpine")
	mustContain(t, l.must(t, "destroy"), "the network netlab_mgmt stays, the container extra uses it")
	if networks := l.host.Networks(); len(networks) != 1 {
		t.Error(networks)
	}
}

// The directory says which lab it is, whatever the request says of its id.
func TestInstanceOfAnotherLab(t *testing.T) {
	t.Parallel()
	l := externalLab(t, map[string]string{"topology.yml": external})
	l.must(t, "up")
	for said, warnings := range map[string]int{"7": 1, "external_lab": 0, "": 0} {
		l.must(t, "up")
		result := l.finish(t, exec.Command{Name: "down", Instance: said})
		if result.ExitCode != 0 || len(result.Warnings) != warnings || len(l.entries(t)) != 0 {
			t.Errorf("%s: %+v", said, result)
		}
	}
}

// The lab's status file is held by another process for longer than anybody waits.
func TestStatusFileThatIsHeld(t *testing.T) {
	t.Parallel()
	l := clab(t, owned())
	l.startedBy(t, "tester")
	// No snapshot: Netlab's own down would wait for the lock, too.
	l.remove(t, "netlab.snapshot.pickle")
	writeFile(t, l.statusFile, "default:\n  dir: "+l.workdir+"\n  status: started\n  providers: [ clab ]\n")
	holding := osexec.CommandContext(testContext(t), l.Python, "-c", "import fcntl, sys\nf = open(sys.argv[1], 'a')\nfcntl.flock(f, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()", l.statusFile+".lock")
	release, err := holding.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := holding.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holding.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	result, log := l.act(t, "down")
	if result.ExitCode != 1 || len(l.host.Containers()) != 0 {
		t.Errorf("%+v\n%s", result, log)
	}
	mustContain(t, result.Error, "the lab is down, but it is still listed", "another process holds it")
	if err := release.Close(); err != nil {
		t.Fatal(err)
	}
	if err := holding.Wait(); err != nil {
		t.Fatal(err)
	}
	l.must(t, "destroy")
	l.mustBeDestroyed(t, owned())
}

// A folder that looks like containerlab's and belongs to somebody else, who lets nobody in.
func TestFolderThatCannotBeLookedInto(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	b := setupFor(t, who, map[string]string{"topology.yml": "provider: external\ndefaults.device: linux\nnodes: { r1: { netlab_ansible_skip_module: [ initial ] } }\n"})
	if err := os.Mkdir(filepath.Join(b.workdir, "clab-old"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"validate", "create", "up", "restart", "down", "destroy"} {
		r := b.runAs(t, who, action(name))
		r.Dir += "-" + name
		if result := wait(t, b.start(t, r)); result.ExitCode != 0 {
			t.Errorf("%s: %+v\n%s", name, result, readFile(t, b.output()))
		}
	}
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, content)
	}
}
