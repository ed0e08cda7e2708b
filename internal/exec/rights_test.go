package exec_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
)

// whoami is a plugin that says in a file what it may do.
const whoami = `
import json, os, subprocess
def attempt(call):
  try:
    call()
    return "yes"
  except OSError as ex:
    return type(ex).__name__
def init(topology):
  umask = os.umask(0); os.umask(umask)
  subprocess.run("echo by name >> /dev/stderr; echo by number >&2", shell=True, check=True)
  status = open("/proc/self/status").read()
  with open("whoami.json", "w") as f:
    json.dump({
      "uid": os.getresuid(), "gid": os.getresgid(), "groups": sorted(os.getgroups()), "umask": umask,
      "home": os.environ["HOME"], "job": os.environ["RUNNER_JOB"], "cwd": os.getcwd(),
      "caps": [l for l in status.splitlines() if l[:6] in ("CapPrm", "CapEff", "CapAmb") and int(l.split()[1], 16)],
      "root": attempt(lambda: os.listdir("/root")), "back": attempt(lambda: os.setuid(0)),
      "run": attempt(lambda: open(open("rundir").read() + "/mine", "w")),
      "plan": attempt(lambda: open(open("rundir").read() + "/plan.json", "a")),
      "driver": attempt(lambda: os.kill(json.load(open(open("rundir").read() + "/driver.json"))["pid"], 0)),
      "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
    }, f)
`

func TestRunAsUser(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	for name, alone := range map[string]bool{"forked": false, "by itself": true} {
		t.Run(name, func(t *testing.T) {
			b := setupFor(t, who, map[string]string{"topology.yml": threeRouters + "plugin: [ chatter ]\n", "chatter.py": whoami})
			if alone {
				b.alone(t)
			}
			if err := os.Chmod(b.workdir, 0o700); err != nil {
				t.Fatal(err)
			}
			r := b.runAs(t, who, create())
			r.WorkdirFile = b.place(t)
			writeFile(t, filepath.Join(b.workdir, "rundir"), r.Dir)
			writeFile(t, b.output(), "netlab-worker: first\n")
			p := b.start(t, r)
			if forked := parentOf(t, p) != 0; forked == alone {
				t.Errorf("it was forked: %v", forked)
			}
			if result := wait(t, p); result.ExitCode != 0 || result.Invalid || result.Stopped {
				t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
			}

			got := decode(t, readFile(t, filepath.Join(b.workdir, "whoami.json")))
			for name, want := range map[string]any{
				"umask": float64(0o022), "home": who.home, "job": r.Job, "cwd": b.workdir, "root": "PermissionError", "back": "PermissionError",
				"run": "PermissionError", "plan": "PermissionError", "driver": "PermissionError",
			} {
				if got[name] != want {
					t.Errorf("%s: %v, not %v", name, got[name], want)
				}
			}
			if caps := got["caps"].([]any); len(caps) != 0 {
				t.Errorf("capabilities are left: %v", caps)
			}
			for name, number := range map[string]int{"uid": who.uid, "gid": who.gid} {
				for _, id := range got[name].([]any) {
					if id != float64(number) {
						t.Errorf("%s: %v", name, got[name])
					}
				}
			}
			groups := got["groups"].([]any)
			if len(groups) != 2 || groups[0] != float64(min(who.gid, 4242)) || groups[1] != float64(max(who.gid, 4242)) {
				t.Errorf("groups %v", groups)
			}
			if fds := got["fds"].([]any); len(fds) > 6 {
				t.Errorf("open descriptors %v", fds)
			}
			mustBeOwned(t, b.workdir, who)
			mustContain(t, readFile(t, b.output()), "netlab-worker: first\n", "by name\n", "by number\n", "Created provider configuration file")
		})
	}
}

// mustBeOwned fails if something below dir is not the user's.
func mustBeOwned(t *testing.T, dir string, who *person) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if filepath.Base(name) != "rundir" && (int(stat.Uid) != who.uid || int(stat.Gid) != who.gid || stat.Mode&0o022 != 0) {
			t.Errorf("%s belongs to %d:%d, mode %o", name, stat.Uid, stat.Gid, stat.Mode)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// up starts a second Netlab by itself, which reads the driver, the plan and progress as the user.
func TestNestedCommandRunsAsUser(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	b := setupFor(t, who, map[string]string{"topology.yml": "provider: external\ndefaults.device: linux\nnodes: { r1: { netlab_ansible_skip_module: [ initial ] } }\n"})
	if result := wait(t, b.startForked(t, b.runAs(t, who, up()))); result.ExitCode != 0 || result.Phase == "" {
		t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
	}
	mustContain(t, readFile(t, b.output()), "Lab devices configured")
	mustContain(t, readFile(t, b.statusFile), b.workdir, "status: started")
	mustBeOwned(t, b.workdir, who)
	mustBeOwned(t, who.home, who)
}

// A snapshot is a pickle, which is code: it never runs as root.
func TestSnapshotIsLoadedAsUser(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	b := setupFor(t, who, nil)
	plant := `
import os, pickle
class Plant:
    def __reduce__(self):
        return (os.system, ("id -u >> loaded",))
with open("netlab.snapshot.pickle", "wb") as f:
    pickle.dump(Plant(), f)
`
	b.python(t, plant)
	who.give(t, b.workdir)
	labs := "default:\n  dir: " + b.workdir + "\n  providers: [ clab ]\n  status: started\n"
	writeFile(t, b.statusFile, labs)
	who.give(t, who.home)
	for _, name := range []string{"down", "status"} {
		wait(t, b.startForked(t, b.runAs(t, who, exec.Command{Name: name})))
	}
	q := b.query("default", false)
	q.User, q.Env = who.credential(), b.runAs(t, who).Env
	if _, err := b.Status(testContext(t), q); err != nil {
		t.Error(err)
	}
	loads := strings.Fields(readFile(t, filepath.Join(b.workdir, "loaded")))
	if len(loads) < 3 {
		t.Errorf("loaded %d times", len(loads))
	}
	for _, uid := range loads {
		if uid != strconv.Itoa(who.uid) {
			t.Errorf("it was loaded by user %s", uid)
		}
	}
}

func TestRunAsUserSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	for name, c := range map[string]struct {
		spoil   func(t *testing.T, b *bundle, r *exec.Run) error
		invalid bool
		want    []string
	}{
		"directory of another": {
			spoil: func(_ *testing.T, b *bundle, _ *exec.Run) error {
				return errors.Join(os.Chown(b.workdir, 0, 0), os.Chmod(b.workdir, 0o700))
			},
			invalid: true, want: []string{who.name, "may not enter the working directory", "/lab"},
		},
		"directory moved": {
			spoil: func(_ *testing.T, b *bundle, _ *exec.Run) error {
				return os.Rename(b.workdir, b.workdir+"-moved")
			},
			invalid: true, want: []string{"/lab was moved to ", "/lab-moved", "submit the job again"},
		},
		"directory deleted": {
			spoil:   func(_ *testing.T, b *bundle, _ *exec.Run) error { return os.RemoveAll(b.workdir) },
			invalid: true, want: []string{"/lab was deleted"},
		},
		"data directory closed": {
			spoil: func(t *testing.T, b *bundle, _ *exec.Run) error {
				b.alone(t)
				return os.Chmod(filepath.Join(b.root, "data"), 0o700)
			},
			want: []string{who.name, "main.py", "/data is not open to others", "chmod o+x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupFor(t, who, map[string]string{"topology.yml": threeRouters})
			r := b.runAs(t, who, create())
			r.WorkdirFile = b.place(t)
			if err := c.spoil(t, b, &r); err != nil {
				t.Fatal(err)
			}
			result := wait(t, b.start(t, r))
			if result.ExitCode != 1 || result.Invalid != c.invalid || result.HostFault == c.invalid {
				t.Errorf("%+v", result)
			}
			mustContain(t, result.Error, c.want...)
			mustContain(t, readFile(t, b.output()), "netlab-worker: "+result.Error)
			if _, err := os.Stat(filepath.Join(b.workdir, "clab.yml")); err == nil {
				t.Error("Netlab was started")
			}
		})
	}
}

// A run's environment is in the commands alone: neither the driver's nor a file has it.
func TestEnvironmentIsHandedOver(t *testing.T) {
	t.Parallel()
	b := setup(t, sleeper("  ready()\n  while not os.path.exists('go'): time.sleep(0.01)\n"))
	r := b.run(t, create())
	r.Job = "job-1"
	r.Env = b.env(map[string]string{"LAB_SECRET": "hunter2" + strings.Repeat("x", 100_000)})
	p := b.start(t, r)
	waitForPhase(t, p, "Chatting away")
	environ := readFile(t, filepath.Join("/proc", strconv.Itoa(p.Pid()), "environ"))
	if strings.Contains(environ, "hunter2") || !strings.Contains(environ, "\x00RUNNER_JOB=job-1\x00") {
		t.Errorf("the driver's environment: %q", environ)
	}
	writeFile(t, filepath.Join(b.workdir, "go"), "")
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
}

// place is the opened working directory.
func (b *bundle) place(t *testing.T) *os.File {
	t.Helper()
	place, err := os.Open(b.workdir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = place.Close() })
	return place
}
