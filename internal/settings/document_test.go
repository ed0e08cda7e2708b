package settings

import (
	"os"
	"path/filepath"
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
