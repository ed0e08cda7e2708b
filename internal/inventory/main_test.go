package inventory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"netlab-runner/internal/account"
	"netlab-runner/test/labs"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what takes seconds on an idle machine.
const limit = 2 * time.Minute

// newUser makes a user of this machine, with a home, for the time of the test.
func newUser(t *testing.T) *account.Account {
	t.Helper()
	a, err := account.Lookup(people.New(t, "/home").Name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bench is a machine with users' homes, and stand-ins for containerlab and docker.
type bench struct {
	t      *testing.T
	python string
	docker *standins.Standins
	host   *Host
	homes  []account.Account
	files  []string
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, python: standins.Python(t), docker: standins.Install(t)}
	b.host = &Host{
		Homes:      func() []account.Account { return b.homes },
		StateFiles: func() []string { return b.files },
		Path:       b.path(),
	}
	return b
}

func (b *bench) path() string {
	return b.docker.Path() + ":" + filepath.Dir(b.python) + ":/usr/bin:/bin"
}

// home adds a home of this process's own user, under another name.
func (b *bench) home(name string) account.Account {
	b.t.Helper()
	a, err := account.Self()
	if err != nil {
		b.t.Fatal(err)
	}
	a.Name, a.Home = name, realTemp(b.t)
	b.homes = append(b.homes, *a)
	return *a
}

func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// status writes the status file of a home.
func status(t *testing.T, home, text string) string {
	t.Helper()
	file := StatusFile(home)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, text)
	return file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// labs looks at the labs.
func (b *bench) labs() *Listing {
	b.t.Helper()
	l, err := b.host.Labs(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// lab lays out a sample lab in a folder of that name.
func (b *bench) lab(sample, folder string) string {
	b.t.Helper()
	dir := filepath.Join(realTemp(b.t), folder)
	labs.Copy(b.t, sample, dir)
	return dir
}

// netlab runs the real Netlab in a directory for a home.
func (b *bench) netlab(home, dir string, args ...string) error {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), filepath.Join(filepath.Dir(b.python), "netlab"), args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "USER=tester", "PWD=" + dir, "PATH=" + b.path(), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1",
		"TERM=dumb", "CLAB_VERSION_CHECK=disable",
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("netlab %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

func (b *bench) mustNetlab(home, dir string, args ...string) {
	b.t.Helper()
	if err := b.netlab(home, dir, args...); err != nil {
		b.t.Fatal(err)
	}
}
