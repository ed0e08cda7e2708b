package settings

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testMachine is what the defaults depend on in tests.
func testMachine() machine { return machine{host: "lab1", cores: 6} }

// given is what a program is started with in a test.
type given struct {
	args []string
	env  []string
	file string // text of a YAML file, named by the program's config variable
}

func (g given) invocation(t *testing.T, stdout *bytes.Buffer) Invocation {
	t.Helper()
	env := g.env
	if g.file != "" {
		path := writeFile(t, "settings.yml", g.file)
		env = append([]string{"NETLAB_API_CONFIG=" + path, "NETLAB_WORKER_CONFIG=" + path}, env...)
	}
	return Invocation{Args: g.args, Environ: env, Stdout: stdout, Version: "v1.2.3"}
}

func parseAPI(t *testing.T, g given) (*API, error) {
	t.Helper()
	api := &API{}
	return api, parse(g.invocation(t, &bytes.Buffer{}), about{name: "netlab-api"}, api, testMachine())
}

func parseWorker(t *testing.T, g given) (*WorkerProgram, error) {
	t.Helper()
	worker := &WorkerProgram{}
	return worker, parse(g.invocation(t, &bytes.Buffer{}), about{name: "netlab-worker"}, worker, testMachine())
}

func mustParseAPI(t *testing.T, g given) *API {
	t.Helper()
	api, err := parseAPI(t, g)
	if err != nil {
		t.Fatalf("parsing %+v: %v", g, err)
	}
	return api
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantFaults compares the faults of err with texts, each "<Variable>: <a part of the fault's text>", in this order.
func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var invalid *Invalid
	if err != nil && !errors.As(err, &invalid) {
		t.Fatalf("got the error %q (%T), want an *Invalid", err, err)
	}
	var faults []Fault
	if invalid != nil {
		faults = invalid.Faults
	}
	if len(faults) != len(want) {
		t.Fatalf("got %d faults, want %d:\n%v", len(faults), len(want), err)
	}
	for i, w := range want {
		variable, part, _ := strings.Cut(w, ": ")
		if faults[i].Variable != variable || !strings.Contains(faults[i].Text, part) {
			t.Errorf("fault %d is %+v, want %s", i, faults[i], w)
		}
	}
}
