package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"netlab-runner/internal/jobs"
)

// schemathesis, with schemathesis.toml, finds nothing in the running service. NETLAB_TEST_SCHEMATHESIS is how many requests it
// makes of each operation in a phase; without it there are few, the same each time.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, ".venv-schemathesis", "bin", "schemathesis")
	if !exists(t, program) {
		t.Fatalf("no %s: run make venv-schemathesis", program)
	}
	const token = "of-the-test"
	f := single(t, "NETLAB_API_TOKEN="+token, "NETLAB_WORKER_TEMPLATES="+filepath.Join(root, "test", "labs"))
	// What there is to be read: a lab that runs, and jobs.
	f.any().run(t, jobs.Success, object{"action": "up", "workdir": f.lab("external", "external")})
	f.any().run(t, jobs.Success, object{"action": "create", "workdir": f.lab("made", "frr3"), "user": caller(t)})

	// The document is for those who have the token alone, which schemathesis does not send for it.
	document := f.path("openapi.json")
	if status, body := f.any().do(t, "GET", "/openapi.json", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	} else if err := os.WriteFile(document, body, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config-file", filepath.Join(root, "schemathesis.toml"), "run", document, "--url", f.any().base, "--no-color"}
	if examples := os.Getenv("NETLAB_TEST_SCHEMATHESIS"); examples != "" {
		args = append(args, "--max-examples", examples)
	} else {
		args = append(args, "--max-examples", "5", "--generation-deterministic")
	}
	run := exec.CommandContext(t.Context(), program, args...)
	run.Dir = t.TempDir() // what it keeps for its next run is not for the project's
	run.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "test", "schemathesis"), "PYTHONDONTWRITEBYTECODE=1",
		"SCHEMATHESIS_ROOT="+f.root, "SCHEMATHESIS_HOST=alpha", "SCHEMATHESIS_TOKEN="+token)
	out, err := run.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
