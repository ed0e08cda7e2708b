package exec_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
	"netlab-runner/test/people"
)

// person is a user of this machine that was made for a test.
type person struct {
	name     string
	uid, gid int
	home     string
}

func (p *person) credential() *syscall.Credential {
	return &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid), Groups: []uint32{uint32(p.gid), 4242}}
}

// give makes the user the owner of what is below dir.
func (p *person) give(t *testing.T, dir string) {
	t.Helper()
	(&people.Person{UID: p.uid, GID: p.gid}).Own(t, dir)
}

// makeUser makes a user with a home of its own, or skips the test where that is impossible.
func makeUser(t *testing.T) *person {
	t.Helper()
	p := people.New(t, people.Dir(t))
	return &person{name: p.Name, uid: p.UID, gid: p.GID, home: p.Home}
}

// setupFor is setup for a lab of the user's, with all that its commands need where the user can come to.
func setupFor(t *testing.T, who *person, files map[string]string) *bundle {
	t.Helper()
	root := people.Dir(t)
	b := &bundle{root: root, workdir: filepath.Join(root, "lab"), statusFile: filepath.Join(who.home, "status.yaml")}
	b.Netlab = kept.netlab(t, kept.publicPython(t))
	if err := os.MkdirAll(b.workdir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		writeFile(t, filepath.Join(b.workdir, name), content)
	}
	who.give(t, b.workdir)
	return b
}

// runAs is a run of the bundle as the user.
func (b *bundle) runAs(t *testing.T, who *person, commands ...exec.Command) exec.Run {
	t.Helper()
	r := b.run(t, commands...)
	r.User, r.Job = who.credential(), "job-of-"+who.name
	r.Env = b.Environment(exec.Surroundings{User: who.name, Home: who.home, Workdir: b.workdir, Path: b.searchPath()})
	return r
}

func (b *bundle) searchPath() string {
	if b.path == "" {
		return ""
	}
	return b.path + ":" + exec.SystemPath
}
