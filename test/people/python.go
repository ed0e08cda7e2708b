package people

import (
	_ "embed"
	"os"
	"os/exec"
	"strings"
	"testing"
)

//go:embed public.py
var makePublic string

// Python returns an interpreter with Netlab that every user can run: the given one, or where that leads into a home, as
// virtual environments do at times, one of the same version of the system's with the given one's packages, in the folder dir. It
// skips the test where there is none.
func Python(t testing.TB, python, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, "-c", makePublic, dir)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("other users run Netlab in this test, and there is no Python for them: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
