package e2e_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// layOutTemplates makes a root with templates and a folder beside it that nothing may be seen of.
func layOutTemplates(t *testing.T) (root string) {
	t.Helper()
	dir := t.TempDir()
	root = filepath.Join(dir, "templates")
	for _, name := range []string{
		"templates/b.yml", "templates/A.yaml", "templates/a.yml", "templates/notes.txt", "templates/yml", "templates/UPPER.YML",
		"templates/team/one.yml", "templates/team/deep/er/two.yaml", "templates/a b/ü.yml", "templates/empty/.keep",
		"outside/secret.yml", "templates-of-others/theirs.yml",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Mkdir(filepath.Join(root, "folder.yml"), 0o755),
		syscall.Mkfifo(filepath.Join(root, "pipe.yml"), 0o644),
		os.Symlink("team/one.yml", filepath.Join(root, "inside.yml")),
		os.Symlink("team", filepath.Join(root, "linked")),
		os.Symlink("../outside/secret.yml", filepath.Join(root, "out.yml")),
		os.Symlink(filepath.Join(dir, "outside", "secret.yml"), filepath.Join(root, "absolute.yml")),
		os.Symlink("nowhere.yml", filepath.Join(root, "broken.yml")),
		os.Symlink("../outside", filepath.Join(root, "out")),
		os.Symlink(filepath.Join(dir, "outside"), filepath.Join(root, "absolute")),
		os.Symlink("loop", filepath.Join(root, "loop")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// What lies below the template root is listed by name, as clients ask for it, and nothing else.
func TestTemplatesBelowTheRoot(t *testing.T) {
	t.Parallel()
	root := layOutTemplates(t)
	a := single(t, "NETLAB_WORKER_TEMPLATES="+root).any()
	for _, test := range []struct {
		query string
		want  []string
	}{
		{"", []string{"A.yaml", "a.yml", "b.yml", "inside.yml"}},
		{"?dir=", []string{"A.yaml", "a.yml", "b.yml", "inside.yml"}},
		{"?dir=.", []string{"A.yaml", "a.yml", "b.yml", "inside.yml"}},
		{"?dir=team", []string{"one.yml"}},
		{"?dir=team/", []string{"one.yml"}},
		{"?dir=./team//deep/er", []string{"two.yaml"}},
		{"?dir=team%2Fdeep%2Fer&host=alpha", []string{"two.yaml"}},
		{"?dir=team/deep", nil},
		{"?dir=a%20b", []string{"ü.yml"}},
		{"?dir=empty", nil},
		{"?dir=linked", []string{"one.yml"}},
		{"?dir=nowhere", nil},
		{"?dir=team/nowhere", nil},
	} {
		status, body := a.do(t, "GET", "/templates"+test.query, nil)
		var answer struct{ Templates []struct{ Name, Path string } }
		if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK || answer.Templates == nil {
			t.Errorf("%s: %d %s", test.query, status, body)
			continue
		}
		var names []string
		for _, template := range answer.Templates {
			if names = append(names, template.Name); template.Path != template.Name {
				t.Errorf("%s: %+v", test.query, template)
			}
		}
		if !slices.Equal(names, test.want) {
			t.Errorf("%s: %q, want %q", test.query, names, test.want)
		}
	}

	// No list, and no word of what lies outside, or of where the root is.
	for _, dir := range []string{
		"out", "absolute", "loop", "a.yml", "pipe.yml", "linked/../out", "out/..", "..", "../templates-of-others", "../outside", "team/../../outside",
		"%2e%2e/outside", "..%2foutside", "/etc", "//etc", "%2Fetc", "team%00", "~", "~root", root, strings.Repeat("y", 300), "%ff",
	} {
		status, body := a.do(t, "GET", "/templates?dir="+dir, nil)
		var answer struct {
			Error     string
			Templates []any
		}
		if err := json.Unmarshal(body, &answer); err != nil || len(answer.Templates) > 0 || strings.Contains(string(body), "secret") || strings.Contains(string(body), "theirs") {
			t.Errorf("%.50s: %d %s", dir, status, body)
		}
		empty := dir == "~" || dir == "~root" // names like others
		if !empty && (status != http.StatusBadRequest && status != http.StatusNotFound || !strings.Contains(answer.Error, "dir")) {
			t.Errorf("%.50s: %d %s", dir, status, body)
		}
		if dir != root && strings.Contains(string(body), root) {
			t.Errorf("%.50s: the answer tells where the root is: %s", dir, body)
		}
	}
	if status, body := a.do(t, "GET", "/templates?host=nowhere", nil); status != http.StatusNotFound && status != http.StatusBadRequest || !strings.Contains(string(body), "nowhere") {
		t.Errorf("unknown host: %d %s", status, body)
	}
}

// Each host has its own root, or none, which is said.
func TestTemplatesOfEachHost(t *testing.T) {
	t.Parallel()
	f := split(t)
	a := f.any()
	if status, body := a.do(t, "GET", "/templates?host=beta", nil); status != http.StatusNotFound || !strings.Contains(string(body), "NETLAB_WORKER_TEMPLATES") {
		t.Errorf("no root: %d %s", status, body)
	}
	f.workers[1].stop()
	f.extra = append(f.extra, "NETLAB_WORKER_TEMPLATES="+layOutTemplates(t))
	f.startWorker("beta")
	f.workers[2].stop()
	f.extra = append(f.extra, "NETLAB_WORKER_TEMPLATES="+f.path("nowhere"))
	f.startWorker("gamma")
	for _, a := range f.apis {
		a.awaitReady(3)
	}
	// The lease of the one before it shows the host as online, too.
	for _, w := range f.workers[3:] {
		w.expect("host announced")
	}
	if status, body := a.do(t, "GET", "/templates?host=beta&dir=team", nil); status != http.StatusOK || !strings.Contains(string(body), "one.yml") {
		t.Errorf("root: %d %s", status, body)
	}
	if status, body := a.do(t, "GET", "/templates?host=gamma", nil); status != http.StatusNotFound || !strings.Contains(string(body), "NETLAB_WORKER_TEMPLATES") {
		t.Errorf("root that is not there: %d %s", status, body)
	}
	if status, body := a.do(t, "GET", "/templates", nil); status != http.StatusBadRequest || !strings.Contains(string(body), "host") {
		t.Errorf("no host: %d %s", status, body)
	}
}
