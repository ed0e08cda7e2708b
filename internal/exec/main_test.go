package exec_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netlab-runner/internal/exec"
)

// attachEnv makes the test binary attach to the run in that directory, wait for it and print its result: another worker.
const attachEnv = "EXEC_TEST_ATTACH"

// ownVariable is one of this process's environment, which is none of any run's.
const ownVariable = "EXEC_TEST_OWN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(attachEnv); dir != "" {
		os.Exit(attachAndPrint(dir))
	}
	if dir := os.Getenv(stopEnv); dir != "" {
		os.Exit(stopAndPrint(dir))
	}
	if dir := os.Getenv(shortEnv); dir != "" {
		os.Exit(lookAndPrint(dir))
	}
	if err := os.Setenv(ownVariable, "x"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(testRun{m})
}

func attachAndPrint(dir string) int {
	p, err := exec.Attach(dir, "")
	if err == nil {
		fmt.Println("attached to", p.Pid())
		var result exec.Result
		if result, err = p.Wait(context.Background()); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// deadline bounds every wait of these tests; it is long because two cores may be shared.
const deadline = 90 * time.Second

// bundle is a Netlab with a lab's directory.
type bundle struct {
	*exec.Netlab
	root, workdir, statusFile string
	path                      string // in front of PATH
}

// setup makes the files of a working directory. Its Netlab is the project's, kept ready.
func setup(t *testing.T, files map[string]string) *bundle {
	t.Helper()
	root := t.TempDir()
	b := &bundle{root: root, workdir: filepath.Join(root, "lab"), statusFile: filepath.Join(root, "state", "status.yaml")}
	b.Netlab = kept.netlab(t, testPython(t))
	for _, dir := range []string{b.workdir, filepath.Join(root, "home"), filepath.Dir(b.statusFile)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		writeFile(t, filepath.Join(b.workdir, name), content)
	}
	return b
}

func testPython(t *testing.T) string {
	t.Helper()
	if python := os.Getenv("NETLAB_TEST_PYTHON"); python != "" {
		return python
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == "/" {
			t.Fatal("no go.mod above the test's directory")
		}
	}
	python := filepath.Join(dir, ".venv", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("these tests run the real Netlab, and %s is not there: run make venv (or set NETLAB_TEST_PYTHON)", python)
	}
	return python
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func (b *bundle) env(extra map[string]string) []string {
	env := b.Environment(exec.Surroundings{
		User: "tester", Home: filepath.Join(b.root, "home"), Workdir: b.workdir, Extra: extra,
	})
	for i, variable := range env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok && b.path != "" {
			env[i] = "PATH=" + b.path + ":" + path
		}
	}
	return env
}

// fakePlaybooks lets the labs of the external provider, which has no nodes to connect to, be configured or fail to be.
func (b *bundle) fakePlaybooks(t *testing.T, exitCode string) {
	t.Helper()
	b.path = filepath.Join(b.root, "bin")
	if err := os.MkdirAll(b.path, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho playbook $(basename $1)\nexit " + exitCode + "\n"
	if err := os.WriteFile(filepath.Join(b.path, "ansible-playbook"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) output() string { return filepath.Join(b.root, "output") }

// run returns a run of the commands with its own directory below the bundle's.
func (b *bundle) run(t *testing.T, commands ...exec.Command) exec.Run {
	t.Helper()
	dir, err := os.MkdirTemp(b.root, "run-")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Run{
		Dir: dir, Output: b.output(), Workdir: b.workdir, StatusFile: b.statusFile,
		Commands: commands, Env: b.env(nil), SnapshotYAML: true,
	}
}

// start starts the run. At the end of the test nothing of it is left.
func (b *bundle) start(t *testing.T, r exec.Run) *exec.Process {
	t.Helper()
	p, err := b.Start(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := p.Stop(ctx, exec.StopOptions{Grace: exec.Grace{Kill: time.Minute}}); err != nil {
			t.Error(err)
		}
		p.Release()
	})
	return p
}

// finish runs the commands to their end.
func (b *bundle) finish(t *testing.T, commands ...exec.Command) exec.Result {
	t.Helper()
	return wait(t, b.start(t, b.run(t, commands...)))
}

func wait(t *testing.T, p *exec.Process) exec.Result {
	t.Helper()
	result, err := p.Wait(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// mustSucceed also shows what was logged.
func (b *bundle) mustSucceed(t *testing.T, commands ...exec.Command) exec.Result {
	t.Helper()
	result := b.finish(t, commands...)
	if result.ExitCode != 0 {
		t.Fatalf("exit code %d: %s\n%s", result.ExitCode, result.Error, readFile(t, b.output()))
	}
	return result
}

// waitForPhase returns once the run has the phase.
func waitForPhase(t *testing.T, p *exec.Process, want string) {
	t.Helper()
	ctx := testContext(t)
	for {
		select {
		case phase, ok := <-p.Phases():
			if !ok {
				t.Fatalf("the run ended without the phase %q", want)
			}
			if phase == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no phase %q: %v", want, ctx.Err())
		}
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// driver runs a script that uses modules of the driver, with json and sys imported. Its arguments begin with sys.argv[2].
func (b *bundle) driver(t *testing.T, script string, args ...string) string {
	t.Helper()
	main := driverMain(t)
	load := `
import json, sys, types
package = types.ModuleType("netlab_driver")
package.__path__ = [sys.argv[1]]
sys.modules["netlab_driver"] = package
`
	return b.python(t, load+script, append([]string{filepath.Dir(main)}, args...)...)
}

// driverMain is the path of the driver's program.
func driverMain(t *testing.T) string {
	t.Helper()
	main, err := filepath.Glob(filepath.Join(kept.dir, "data", "driver", "*", "main.py"))
	if err != nil || len(main) != 1 {
		t.Fatalf("%q, %v", main, err)
	}
	return main[0]
}

// alone gives the bundle a Netlab of its own, which is not kept ready, with the driver below the bundle's root.
func (b *bundle) alone(t *testing.T) {
	t.Helper()
	n, err := exec.Find(testContext(t), b.Python, filepath.Join(b.root, "data"))
	if err != nil {
		t.Fatal(err)
	}
	b.Netlab = n
}

// python runs a script with the bundle's interpreter and environment, in its working directory.
func (b *bundle) python(t *testing.T, script string, args ...string) string {
	t.Helper()
	cmd := osexec.CommandContext(testContext(t), b.Python, append([]string{"-c", script}, args...)...)
	cmd.Dir, cmd.Env = b.workdir, b.env(nil)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
