package exec_test

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/test/people"
)

// person is a user of this machine that was made for a test.
type person struct {
	name     string
	uid, gid int
	home     string
}

func (p *person) credential() *syscall.Credential {
	return &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid), Groups: []uint32{uint32(p.gid), 4242}}
}

// give makes the user the owner of what is below dir.
func (p *person) give(t *testing.T, dir string) {
	t.Helper()
	(&people.Person{UID: p.uid, GID: p.gid}).Own(t, dir)
}

// makeUser makes a user with a home of its own, or skips the test where that is impossible.
func makeUser(t *testing.T) *person {
	t.Helper()
	p := people.New(t, publicDir(t))
	return &person{name: p.Name, uid: p.UID, gid: p.GID, home: p.Home}
}

// publicDir makes a directory that every user can come to, unlike the test's own.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "exec-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// public is where publicPython puts its virtual environment; TestMain removes it.
var public struct {
	once   sync.Once
	dir    string
	python string
	why    string // there is none
}

// publicPython returns a Python with Netlab that every user can run. That of the project leads into a home at times; then it
// is one of the same version of the system's with the project's packages.
func publicPython(t *testing.T) string {
	t.Helper()
	public.once.Do(func() {
		dir, err := os.MkdirTemp("/tmp", "exec-test-python-")
		if err != nil {
			public.why = err.Error()
			return
		}
		public.dir = dir
		out, err := osexec.CommandContext(testContext(t), testPython(t), "-c", makePublic, dir).CombinedOutput()
		if err != nil {
			public.why = fmt.Sprintf("%v: %s", err, out)
			return
		}
		public.python = strings.TrimSpace(string(out))
	})
	if public.python == "" {
		t.Skipf("other users run Netlab in this test, and there is no Python for them: %s", public.why)
	}
	return public.python
}

const makePublic = `
import os, shutil, sys, netsim

def public(path):
    path = os.path.realpath(path)
    while path != "/":
        if not os.stat(path).st_mode & (0o001 if os.path.isdir(path) else 0o004):
            return False
        path = os.path.dirname(path)
    return True

target = sys.argv[1]
os.chmod(target, 0o755)
packages = os.path.dirname(os.path.dirname(netsim.__file__))
if public(sys.executable) and public(os.__file__) and public(netsim.__file__):
    print(sys.executable)
    sys.exit()
version = "python%d.%d" % sys.version_info[:2]
base = next((b for b in (os.path.realpath(sys.executable), "/usr/bin/" + version, "/usr/local/bin/" + version)
             if os.path.exists(b) and public(b) and (b[:5] == "/usr/" or public(os.__file__))), None)
if not base:
    sys.exit("no " + version + " that every user can run; install it for the system")
os.makedirs(target + "/bin")
os.makedirs(target + "/lib/" + version)
os.symlink(base, target + "/bin/python")
with open(target + "/pyvenv.cfg", "w") as f:
    f.write("home = " + os.path.dirname(base) + "\ninclude-system-site-packages = false\n")
site = target + "/lib/" + version + "/site-packages"
if public(netsim.__file__):
    os.symlink(packages, site)
else:
    shutil.copytree(packages, site, ignore=shutil.ignore_patterns("ansible*", "pip*", "setuptools*"))
with open(target + "/bin/netlab", "w") as f:
    f.write("#!" + target + "/bin/python\nimport sys\nfrom netsim.cli import main\nsys.exit(main())\n")
os.chmod(target + "/bin/netlab", 0o755)
print(target + "/bin/python")
`

// setupFor is setup for a lab of the user's, with all that its commands need where the user can come to.
func setupFor(t *testing.T, who *person, files map[string]string) *bundle {
	t.Helper()
	root := publicDir(t)
	b := &bundle{root: root, workdir: filepath.Join(root, "lab"), statusFile: filepath.Join(who.home, "status.yaml")}
	n, err := exec.Find(testContext(t), publicPython(t), filepath.Join(root, "data"))
	if err != nil {
		t.Fatal(err)
	}
	b.Netlab = n
	if err := os.MkdirAll(b.workdir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		writeFile(t, filepath.Join(b.workdir, name), content)
	}
	who.give(t, b.workdir)
	return b
}

// runAs is a run of the bundle as the user.
func (b *bundle) runAs(t *testing.T, who *person, commands ...exec.Command) exec.Run {
	t.Helper()
	r := b.run(t, commands...)
	r.User, r.Job = who.credential(), "job-of-"+who.name
	r.Env = b.Environment(exec.Surroundings{User: who.name, Home: who.home, Workdir: b.workdir, Path: b.searchPath()})
	return r
}

func (b *bundle) searchPath() string {
	if b.path == "" {
		return ""
	}
	return b.path + ":" + exec.SystemPath
}
