package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrefixHasOneForm(t *testing.T) {
	t.Parallel()
	for given_, want := range map[string]string{"": "", "/": "", "//": "", "netlab": "/netlab", "/netlab/": "/netlab", "a/b.c/": "/a/b.c"} {
		if api := mustParseAPI(t, given{args: []string{"--prefix=" + given_}}); api.Prefix != want {
			t.Errorf("%q became %q, want %q", given_, api.Prefix, want)
		}
	}
}

func TestWorkerInTheAPI(t *testing.T) {
	t.Parallel()
	api := mustParseAPI(t, given{args: []string{"--with-worker", "--data-dir=/d"}})
	if api.Worker.DataDir != "/d/worker" || api.DefaultHost != "lab1" || api.Worker.Host != "lab1" || api.Worker.Slots != 6 {
		t.Errorf("got %+v", api)
	}
	api = mustParseAPI(t, given{args: []string{"--with-worker", "--data-dir=/d", "--default-host=h"}, env: []string{"NETLAB_WORKER_DATA_DIR=/var/lib/netlab-worker"}})
	if api.Worker.DataDir != "/var/lib/netlab-worker" || api.DefaultHost != "h" {
		t.Errorf("got %+v", api)
	}
	if api = mustParseAPI(t, given{}); api.DefaultHost != "" {
		t.Errorf("got the default host %q without a worker", api.DefaultHost)
	}
}

func TestPathsBecomeAbsolute(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	api := mustParseAPI(t, given{args: []string{"--data-dir=d", "--with-worker", "--worker-python=v/bin/python", "--worker-templates=/t/../u/"}})
	got := []string{api.DataDir, api.Worker.DataDir, api.Worker.Python, api.Worker.Templates}
	want := []string{here + "/d", here + "/d/worker", here + "/v/bin/python", "/u"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if api = mustParseAPI(t, given{args: []string{"--with-worker", "--worker-python=python3.12"}}); api.Worker.Python != "python3.12" {
		t.Errorf("a name on PATH became %q", api.Worker.Python)
	}
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for machineName, want := range map[string]string{
		"lab1": "lab1", "lab1.example.org": "lab1", "lab ä": "lab--", "a_b-c": "a_b-c", "": "",
		strings.Repeat("x", 70): strings.Repeat("x", 63),
	} {
		if got := hostOf(machineName); got != want {
			t.Errorf("hostOf(%q) is %q, want %q", machineName, got, want)
		}
	}
}

func TestMakeDirs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	api := mustParseAPI(t, given{args: []string{"--data-dir", dir, "--with-worker"}})
	if err := api.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "worker")} {
		info, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		// The users of jobs come through them to the worker's driver.
		if info.Mode().Perm() != 0o711 {
			t.Errorf("%s has mode %v, want 0711", d, info.Mode())
		}
	}
	alone := filepath.Join(dir, "alone")
	if err := mustParseAPI(t, given{args: []string{"--data-dir", alone}}).MakeDirs(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(alone); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("without a worker: %v %v, want mode 0700", info, err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "worker"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	file := writeFile(t, "file", "x")
	api.DataDir = file + "/d"
	if err := api.MakeDirs(); err == nil || !strings.Contains(err.Error(), "NETLAB_API_DATA_DIR") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
	worker := &WorkerProgram{Worker: Worker{DataDir: file}}
	if err := worker.MakeDirs(); err == nil || !strings.Contains(err.Error(), "NETLAB_WORKER_DATA_DIR") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
}
