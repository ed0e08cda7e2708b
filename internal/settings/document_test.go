package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/settings.md is what the code says. NETLAB_TEST_WRITE=1, which make docs sets, writes it.
func TestDocument(t *testing.T) {
	t.Parallel()
	want, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "settings.md")
	if os.Getenv("NETLAB_TEST_WRITE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("docs/settings.md is not what the code says: run make docs\n%s", diff)
	}
}

// docs/limits.md says of each setting with a range what is said of a value beyond it.
func TestRangesAreInTheDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	_, table, _ := strings.Cut(string(text), "\n## What settings take\n")
	for _, row := range regexp.MustCompile("(?m)^\\| `(NETLAB_\\w+)` \\| (.+) \\|$").FindAllStringSubmatch(table, -1) {
		said[row[1]] = row[2]
	}
	for variable, beyond := range map[string]string{
		"NETLAB_API_PORT":               "65536",
		"NETLAB_API_BODY_LIMIT":         "1023",
		"NETLAB_API_BUNDLE_LIMIT":       "65MiB",
		"NETLAB_API_BODY_MEMORY":        "63MiB",
		"NETLAB_API_CONNECTIONS":        "0",
		"NETLAB_API_CLIENT_CONNECTIONS": "4097",
		"NETLAB_API_READ_TIMEOUT":       "0",
		"NETLAB_API_WRITE_TIMEOUT":      "0",
		"NETLAB_API_IDLE_TIMEOUT":       "0",
		"NETLAB_API_RETAIN_AGE":         "59s",
		"NETLAB_API_RETAIN_JOBS":        "-1",
		"NETLAB_API_KEEP":               strings.Repeat("x,", maxKeep) + "x",
		"NETLAB_BUS_LEASE":              "11m",
		"NETLAB_BUS_REPLICAS":           "6",
		"NETLAB_BUS_JOBS_BYTES":         "1023KiB",
		"NETLAB_BUS_LOGS_BYTES":         "1023KiB",
		"NETLAB_BUS_OBJECTS_BYTES":      "1023KiB",
		"NETLAB_WORKER_SLOTS":           "1001",
		"NETLAB_WORKER_TIMEOUT":         "999ms",
		"NETLAB_WORKER_LOG_LIMIT":       "63KiB",
		"NETLAB_WORKER_LOG_PATIENCE":    "-1s",
		"NETLAB_WORKER_WARM":            "-1s",
	} {
		_, err := parseAPI(t, given{env: []string{"NETLAB_API_WITH_WORKER=true", variable + "=" + beyond}})
		if err == nil || said[variable] == "" || !strings.HasSuffix(err.Error(), ": use "+said[variable]) {
			t.Errorf("%s is said to take %q: %v", variable, said[variable], err)
		}
		delete(said, variable)
	}
	for variable := range said {
		t.Errorf("the range of %s is not looked at", variable)
	}
}
