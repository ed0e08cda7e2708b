package exec_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/test/standins"
)

// interpreter makes a script that stands in for a Python, and returns its path.
func interpreter(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := standins.WriteProgram(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeNetlab makes a Python whose netsim is the given source.
func fakeNetlab(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "netsim"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "netsim", "__init__.py"), source)
	return interpreter(t, dir, "python", `PYTHONPATH="`+dir+`" exec `+testPython(t)+` "$@"`)
}

// A driver that somebody has removed is there again whenever it is called.
func TestDriverThatWasRemoved(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	called := filepath.Join(t.TempDir(), "called")
	python := interpreter(t, t.TempDir(), "python", `[ -s "$4" ] && echo "$5" >> `+called+`
echo '{"version":"26.10","python":"3.11","script":"/bin/netlab","ansible":true}'`)
	n, err := exec.Find(testContext(t), python, data)
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		if err := os.RemoveAll(filepath.Join(data, "driver")); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	if _, err := n.Status(testContext(t), exec.StatusQuery{}); err != nil {
		t.Error(err)
	}
	remove()
	p, err := n.Start(exec.Run{Dir: filepath.Join(t.TempDir(), "run"), Output: filepath.Join(t.TempDir(), "output")})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := readFile(t, called); got != "probe\nquery\nrun\n" {
		t.Errorf("called with a driver: %q", got)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for range 2 { // the second finds its driver there
		n, err := exec.Find(testContext(t), testPython(t), data)
		if err != nil {
			t.Fatal(err)
		}
		if n.Python != testPython(t) || !strings.HasPrefix(n.Version, "2") || !strings.HasPrefix(n.PythonVersion, "3.") {
			t.Errorf("%+v", n)
		}
		if n.Script != filepath.Join(filepath.Dir(n.Python), "netlab") {
			t.Errorf("script %s", n.Script)
		}
	}
	// Of other versions, and of one that was not finished.
	drivers := filepath.Join(data, "driver")
	for _, name := range []string{"0123456789abcdef", "new-1"} {
		if err := os.Mkdir(filepath.Join(drivers, name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(drivers, name, "main.py"), "")
	}
	if err := exec.RemoveOldDrivers(data); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(drivers, "*", "run.py")); err != nil || len(left) != 1 {
		t.Errorf("the driver of this version: %v, %v", left, err)
	}
	entries, err := os.ReadDir(drivers)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestFindSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		python string
		want   string
	}{
		"no Netlab":        {interpreter(t, dir, "bare", "exec "+testPython(t)+` -S "$@"`), "has no Netlab"},
		"too old":          {fakeNetlab(t, `__version__ = "25.12"`), "is too old, "},
		"import fails":     {fakeNetlab(t, `import no_such_module`), "is broken: ModuleNotFoundError: No module named 'no_such_module'"},
		"import exits":     {fakeNetlab(t, `raise SystemExit(1)`), "is broken: SystemExit: 1"},
		"modules missing":  {fakeNetlab(t, `__version__ = "26.10"`), "is broken: ModuleNotFoundError: No module named 'netsim.cli'"},
		"no such file":     {filepath.Join(dir, "nothing"), "no Python found"},
		"not a Python":     {interpreter(t, dir, "other", "echo what is -X >&2; exit 9"), "cannot run Netlab: what is -X"},
		"not in one piece": {interpreter(t, dir, "mute", "true"), "cannot run Netlab: it does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := exec.Find(testContext(t), c.python, filepath.Join(dir, "data"))
			var unusable *exec.UnusableError
			if !errors.As(err, &unusable) {
				t.Fatalf("error %v", err)
			}
			mustContain(t, err.Error(), c.want, "pip install 'networklab>="+exec.MinVersion+"'", "NETLAB_WORKER_PYTHON")
		})
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := exec.Find(canceled, testPython(t), filepath.Join(dir, "data")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestBrokenNetlabEndsARunAsHostFault(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": threeRouters})
	b.alone(t)
	n := *b.Netlab
	n.Python = fakeNetlab(t, `__version__ = "25.12"`)
	p, err := n.Start(b.run(t, create()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	result := wait(t, p)
	if result.ExitCode != 1 || !result.HostFault || len(result.Commands) != 0 {
		t.Errorf("%+v", result)
	}
	mustContain(t, result.Error, "too old", "pip install")
	mustContain(t, readFile(t, b.output()), "netlab-worker: Netlab 25.12")
}

func TestFindFollowsTheScriptOnPath(t *testing.T) {
	python := testPython(t)
	spaced := filepath.Join(t.TempDir(), "a long name", "python")
	if err := os.MkdirAll(filepath.Dir(spaced), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(python, spaced); err != nil {
		t.Fatal(err)
	}
	// A link out of a virtual environment loses its packages, so only where it leads to is of interest there.
	for name, c := range map[string]struct{ script, path, python string }{
		"path": {script: "#!" + python + "\nimport sys\n", python: python},
		"env":  {script: "#!/usr/bin/env python\nimport sys\n", path: filepath.Dir(python), python: python},
		"sh":   {script: "#!/bin/sh\n'''exec' \"" + spaced + "\" \"$0\" \"$@\"\n' '''\nimport sys\n", python: spaced},
		"none": {path: filepath.Dir(interpreter(t, t.TempDir(), "python3", "exit 1")), python: "python3"},
		"odd":  {script: "#!/usr/bin/perl\n", python: "does not say which Python"},
		"elf":  {script: "\x7fELF", python: "is not a Python script"},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if c.script != "" {
				if err := os.WriteFile(filepath.Join(bin, "netlab"), []byte(c.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin+":"+c.path+":/usr/bin:/bin")
			n, err := exec.Find(testContext(t), "", t.TempDir())
			if err == nil && n.Python != c.python {
				t.Errorf("interpreter %s", n.Python)
			}
			if err != nil && !strings.Contains(err.Error(), c.python) {
				t.Errorf("error %v", err)
			}
			if err != nil && (name == "path" || name == "env") {
				t.Error(err)
			}
		})
	}
}
