package account_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"netlab-runner/internal/account"
	"netlab-runner/test/people"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newUser makes a user of this machine, with a home, for the time of the test.
func newUser(t *testing.T) *account.Account {
	t.Helper()
	a, err := account.Lookup(people.New(t, "/home").Name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// openDir is a directory that everybody can enter and nobody but root can write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "account-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
