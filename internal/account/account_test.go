package account_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/account"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	made := newUser(t)
	byID, err := account.ByID(made.UID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, byID); diff != "" {
		t.Errorf("by name and by number they differ:\n%s", diff)
	}
	if made.UID < 1000 || !slices.Contains(made.Groups, made.GID) || made.Home != "/home/"+made.Name {
		t.Errorf("the account is %+v", made)
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var again account.Account
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*made, again); diff != "" {
		t.Errorf("through JSON it differs:\n%s", diff)
	}
	credential := made.Credential()
	if credential == nil || int(credential.Uid) != made.UID || int(credential.Gid) != made.GID || len(credential.Groups) != len(made.Groups) {
		t.Errorf("the credential is %+v", credential)
	}
}

func TestLookupOfNobody(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "no such user", "-x", "a\x00b", "../etc", strings.Repeat("n", 5000)} {
		_, err := account.Lookup(name)
		var unknown *account.UnknownError
		if !errors.As(err, &unknown) {
			t.Errorf("looking up %.40q: %v", name, err)
		}
	}
	_, err := account.ByID(3999999999)
	var unknown *account.UnknownError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "3999999999") {
		t.Errorf("looking up a number that nobody has: %v", err)
	}
}

func TestSelf(t *testing.T) {
	t.Setenv("HOME", "/somewhere/else")
	a, err := account.Self()
	if err != nil {
		t.Fatal(err)
	}
	if a.UID != os.Geteuid() || a.GID != os.Getegid() || a.Home != "/somewhere/else" || a.Credential() != nil {
		t.Errorf("the process's own account is %+v", a)
	}
	called := false
	if err := a.Do(func() error { called = true; return nil }); err != nil || !called {
		t.Errorf("doing something as oneself: called %v, %v", called, err)
	}
}

func TestOwnerOf(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	dir := openDir(t)
	mine := filepath.Join(dir, "mine")
	link := filepath.Join(dir, "link")
	file := filepath.Join(dir, "file")
	for _, err := range []error{
		os.Mkdir(mine, 0o755), os.Chown(mine, a.UID, a.GID), os.Symlink(mine, link), os.WriteFile(file, nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]int{
		mine:                                a.UID,
		filepath.Join(mine, "to/be/made"):   a.UID,
		link:                                0, // the link's own
		filepath.Join(link, "to/be/made"):   0,
		filepath.Join(dir, "other"):         0,
		filepath.Join(file, "no/directory"): 0,
		"/no/such/path":                     0,
	}
	for path, want := range tests {
		if uid, err := account.OwnerOf(path); err != nil || uid != want {
			t.Errorf("the owner of %s is %d, %v, want %d", path, uid, err, want)
		}
	}
}

func TestCheckHome(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	if err := a.CheckHome(); err != nil {
		t.Errorf("a new home: %v", err)
	}
	if left, err := os.ReadDir(a.Home); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".netlab") }) {
		t.Errorf("checking it left %v, %v", left, err)
	}
	dir := openDir(t)
	file := filepath.Join(dir, "file")
	theirs := filepath.Join(dir, "theirs")
	closed := filepath.Join(dir, "closed")
	netlab := filepath.Join(dir, "netlab")
	for _, err := range []error{
		os.WriteFile(file, nil, 0o644), os.Mkdir(theirs, 0o755), os.MkdirAll(filepath.Join(closed, "home"), 0o777), os.Chmod(closed, 0o700),
		os.MkdirAll(filepath.Join(netlab, ".netlab"), 0o755), os.Chown(netlab, a.UID, a.GID),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ home, remedy string }{
		"none":               {"", "usermod"},
		"missing":            {filepath.Join(dir, "missing"), "mkhomedir_helper"},
		"a file":             {file, "not a directory"},
		"not theirs":         {theirs, "chown"},
		"closed":             {filepath.Join(closed, "home"), "open it"},
		"Netlab's is root's": {netlab, ".netlab"},
	} {
		broken := *a
		broken.Home = test.home
		err := broken.CheckHome()
		if err == nil || !strings.Contains(err.Error(), test.remedy) || !strings.Contains(err.Error(), a.Name) || !strings.Contains(err.Error(), test.home) {
			t.Errorf("a home that is %s: %v", name, err)
		}
	}
}
