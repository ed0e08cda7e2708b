package e2e_test

import (
	"encoding/json"
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
	f := newFleet(t, "NETLAB_API_TOKEN="+token, "NETLAB_WORKER_TEMPLATES="+filepath.Join(root, "test", "labs"))
	a := f.startAPI(append(f.environment("home"), "NETLAB_API_DATA_DIR="+f.path("data"), "NETLAB_API_PORT=0",
		"NETLAB_API_WITH_WORKER=true", "NETLAB_WORKER_HOST=alpha"))
	ask := func(method, path string, body any, want int) []byte {
		t.Helper()
		status, answer := a.do(t, method, path, body, "Authorization", "Bearer "+token)
		if status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		return answer
	}
	a.awaitReady(1)
	// What there is to be read: a lab that runs, and jobs.
	for action, dir := range map[jobs.Action]string{jobs.Up: f.lab("external", "external"), jobs.Create: f.lab("made", "frr3")} {
		var job jobs.Job
		if err := json.Unmarshal(ask("POST", "/jobs", object{"action": action, "workdir": dir}, http.StatusAccepted), &job); err != nil {
			t.Fatal(err)
		}
		ask("GET", "/jobs/"+job.ID+"/log?follow=true", nil, http.StatusOK)
	}

	// The document is for those who have the token alone, which schemathesis does not send for it.
	document := f.path("openapi.json")
	if err := os.WriteFile(document, ask("GET", "/openapi.json", nil, http.StatusOK), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config-file", filepath.Join(root, "schemathesis.toml"), "run", document, "--url", a.base, "--no-color"}
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
