package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/people"
)

// nothing is the result of a run that went well.
var nothing = exec.Result{}

func inline(text string) *material { return &material{topology: text} }

// preparedAs prepares the job's directory and returns its path, or the error.
func (b *testBundle) preparedAs(who *account.Account, j *jobs.Job, m *material) (*place, error) {
	p, err := b.worker.prepare(j, who, m, false)
	p.close()
	return p, err
}

func wantOwner(t *testing.T, who *account.Account, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if uid, err := account.OwnerOf(path); err != nil || uid != who.UID {
			t.Errorf("%s belongs to %d, %v, want %d", path, uid, err, who.UID)
		}
	}
}

func TestTheFirstDirectoryInARoot(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	deep := filepath.Join(b.root, "project", "lab")
	p, err := b.preparedAs(a, job(jobs.Up, deep, ""), inline("nodes: [ r1 ]"))
	if err != nil || p.dir != deep || p.topology != topologyFile {
		t.Fatalf("%+v, %v", p, err)
	}
	wantOwner(t, a, filepath.Join(b.root, "project"), deep, filepath.Join(deep, topologyFile))

	// In the place of another user, whoever that is.
	_, err = b.preparedAs(a, job(jobs.Up, filepath.Join(b.root, other.Name, "lab"), ""), inline("nodes: [ r1 ]"))
	wantInvalid(t, err, "workdir: ", other.Name)
	_, err = b.preparedAs(a, job(jobs.Up, filepath.Join(b.root, "root"), ""), inline("nodes: [ r1 ]"))
	wantInvalid(t, err, "workdir: ", "user root")
	// Another user's, which is there.
	_, err = b.preparedAs(other, job(jobs.Up, filepath.Join(b.root, "project", "two"), ""), inline("nodes: [ r1 ]"))
	wantInvalid(t, err, "workdir: ", "cannot be made by "+other.Name)
	// Without a topology nothing is made.
	_, err = b.preparedAs(a, job(jobs.Up, filepath.Join(b.root, "empty"), ""), inline(""))
	wantInvalid(t, err, "topologyPath: ", "there is no directory")
	for _, name := range []string{other.Name, "root", "project/two", "empty"} {
		if _, err := os.Lstat(filepath.Join(b.root, name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	// Where others can write, root makes nothing for anybody.
	open := filepath.Join(b.root, "open")
	must(t, os.Mkdir(open, 0o755), os.Chmod(open, 0o777))
	b.worker.config.Roots = []string{open}
	if _, err := b.preparedAs(a, job(jobs.Up, filepath.Join(open, "lab"), ""), inline("nodes: [ r1 ]")); err != nil {
		t.Error(err)
	}
	wantOwner(t, a, filepath.Join(open, "lab"))
}

// Two jobs of two users make the same directory at once: it is the first one's, and stays so.
func TestTheFirstDirectoryAtOnce(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	for i := range 200 {
		dir := filepath.Join(b.root, "project"+strings.Repeat("x", i))
		root, rel, err := b.worker.within("workdir", dir, false)
		if err != nil {
			t.Fatal(err)
		}
		begin, done := make(chan struct{}), make(chan int, 2) // who was told that it is theirs, else -1
		for _, who := range []*account.Account{a, other} {
			go func() {
				<-begin
				_ = makeFirst(root, rel, who, dir)
				if uid, _ := account.OwnerOf(dir); uid == who.UID {
					done <- uid
				} else {
					done <- -1
				}
			}()
		}
		close(begin)
		first, second := <-done, <-done
		if uid, _ := account.OwnerOf(dir); max(first, second) != uid || min(first, second) != -1 {
			t.Fatalf("it belongs to %d, after %d and %d", uid, first, second)
		}
		must(t, root.Close())
	}
}

func TestPrepareAsTheUser(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	outside := own(t, a, people.Dir(t))
	mine := own(t, a, filepath.Join(b.root, "mine"))
	theirs := own(t, other, filepath.Join(b.root, "theirs"))
	closed := own(t, other, filepath.Join(b.root, "closed"))
	must(t, os.Chmod(closed, 0o700), os.WriteFile(filepath.Join(b.root, "file"), nil, 0o644),
		os.Symlink(outside, filepath.Join(mine, "out")), os.Symlink(theirs, filepath.Join(mine, "aside")),
		os.WriteFile(filepath.Join(outside, topologyFile), []byte("nodes: [ r9 ]"), 0o644))
	below := job(jobs.Up, mine, "")
	below.Request.TopologyPath = "plain/topology.yml"
	must(t, os.WriteFile(filepath.Join(mine, "plain"), nil, 0o644))
	_, err := b.preparedAs(a, below, inline(""))
	wantInvalid(t, err, "topologyPath: plain/topology.yml: ", "not a directory; it must be a file")
	linked := own(t, a, filepath.Join(mine, "linked"))
	must(t, os.Symlink(filepath.Join(outside, topologyFile), filepath.Join(linked, topologyFile)))
	for _, test := range []struct {
		name, dir string
		m         *material
		words     string
	}{
		{"not writable", theirs, inline("nodes: [ r1 ]"), "cannot be written by " + a.Name},
		{"not writable, nothing to be stored", theirs, inline(""), "cannot be written by " + a.Name},
		{"not to be entered", closed, inline("nodes: [ r1 ]"), a.Name},
		{"below one that is not to be entered", filepath.Join(closed, "lab"), inline("nodes: [ r1 ]"), a.Name},
		{"a file", filepath.Join(b.root, "file"), inline("nodes: [ r1 ]"), "is a file"},
		{"below a file", filepath.Join(b.root, "file", "lab"), inline("nodes: [ r1 ]"), "file"},
		{"out of the roots", filepath.Join(mine, "out", "lab"), inline("nodes: [ r1 ]"), "none of the host's roots"},
		{"aside", filepath.Join(mine, "aside", "lab"), inline("nodes: [ r1 ]"), "cannot be made by " + a.Name},
		{"a topology out of the roots", linked, inline(""), "topologyPath: " + topologyFile + " leads to " + filepath.Join(outside, topologyFile)},
		{"no topology", mine, inline(""), "there is no topology"},
	} {
		_, err := b.preparedAs(a, job(jobs.Up, test.dir, ""), test.m)
		if err == nil {
			t.Errorf("%s: it is prepared", test.name)
			continue
		}
		var bad *invalidError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v is not the request's fault", test.name, err)
		}
		wantWords(t, err.Error(), test.words)
	}
	_, err = b.preparedAs(a, job(jobs.Validate, filepath.Join(mine, "none"), ""), inline(""))
	wantInvalid(t, err, "topologyPath: ", "there is no directory")
	_, err = b.preparedAs(a, job(jobs.Collect, filepath.Join(mine, "none"), ""), inline(""))
	wantInvalid(t, err, "workdir: ", "lab not found")
}

// What a user has put in the way of the worker's own files hangs nothing and leads nowhere.
func TestThingsInTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	who := b.worker.runAs
	for name, put := range map[string]func(path string) error{
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"link": func(path string) error {
			return errors.Join(os.WriteFile(filepath.Join(filepath.Dir(path), "precious"), []byte("precious"), 0o644), os.Symlink("precious", path))
		},
		"link to nothing": func(path string) error { return os.Symlink("nothing", path) },
		"file":            func(path string) error { return os.WriteFile(path, []byte("left"), 0o400) },
	} {
		for _, file := range []string{topologyFile, topologyFile + ".new", ".netlab-runner-probe"} {
			t.Run(name+" "+file, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(b.root, name+file)
				must(t, os.Mkdir(dir, 0o755), put(filepath.Join(dir, file)))
				done := make(chan error, 1)
				go func() {
					_, err := b.preparedAs(who, job(jobs.Up, dir, ""), inline("nodes: [ r1 ]"))
					if err == nil { // nothing is to be stored any more
						_, err = b.preparedAs(who, job(jobs.Up, dir, ""), inline("nodes: [ r1 ]"))
					}
					done <- err
				}()
				if err := receive(t, done); err != nil {
					t.Fatal(err)
				}
				if text, err := os.ReadFile(filepath.Join(dir, topologyFile)); err != nil || string(text) != "nodes: [ r1 ]" {
					t.Errorf("%q, %v", text, err)
				}
				if text, err := os.ReadFile(filepath.Join(dir, "precious")); err == nil && string(text) != "precious" {
					t.Errorf("what was linked to is %q", text)
				}
				entries, err := os.ReadDir(dir)
				if err != nil || len(entries) > 2 {
					t.Errorf("left: %v, %v", entries, err)
				}
			})
		}
	}
}

func TestAnUnchangedTopologyIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := filepath.Join(b.root, "lab")
	file := filepath.Join(dir, topologyFile)
	long := time.Unix(1_700_000_000, 0)
	must(t, os.Mkdir(dir, 0o755), os.WriteFile(file, []byte("nodes: [ r1 ]"), 0o644), os.Chtimes(file, long, long))
	for text, same := range map[string]bool{"nodes: [ r1 ]": true} {
		if _, err := b.preparedAs(b.worker.runAs, job(jobs.Up, dir, ""), inline(text)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Equal(long) != same {
			t.Errorf("%q: changed at %v, %v", text, info.ModTime(), err)
		}
	}
	if _, err := b.preparedAs(b.worker.runAs, job(jobs.Up, dir, ""), inline("nodes: [ r2 ]")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.ModTime().Equal(long) {
		t.Errorf("another topology left it as it was: %v", err)
	}
}

// A restart names no topology of its own where the lab that is there has one.
func TestTheTopologyOfARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := filepath.Join(b.root, "lab")
	must(t, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, topologyFile), []byte("nodes: [ r1 ]"), 0o644))
	want := func(topology string, m *material) {
		t.Helper()
		if p, err := b.preparedAs(b.worker.runAs, job(jobs.Restart, dir, ""), m); err != nil || p.topology != topology {
			t.Errorf("%+v, %v, want %q", p, err, topology)
		}
	}
	want(topologyFile, inline(""))
	must(t, os.WriteFile(filepath.Join(dir, inventory.SnapshotFile), nil, 0o644))
	want("", inline(""))
	want(topologyFile, inline("nodes: [ r2 ]"))
}

// Of what is there, a collect writes over nothing but a tarball that it may have made itself.
func TestTheTarballOfACollect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := filepath.Join(b.root, "lab")
	of := func(output string) []byte { return archive(t, map[string]string{output + "/r1.cfg": "x"}) }
	must(t, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(b.root, "keep.txt"), []byte("precious"), 0o644),
		os.Symlink("../keep.txt", filepath.Join(dir, "link.tar.gz")), syscall.Mkfifo(filepath.Join(dir, "pipe.tgz"), 0o666),
		os.Mkdir(filepath.Join(dir, "folder.tar"), 0o755), os.WriteFile(filepath.Join(dir, "text.tar.gz"), []byte("precious"), 0o644),
		os.WriteFile(filepath.Join(dir, "theirs.tgz"), of("other"), 0o644), os.WriteFile(filepath.Join(dir, "ours.tgz"), of("sub/config"), 0o644),
		os.WriteFile(filepath.Join(dir, "broken-off.tgz"), nil, 0o644))
	for name, words := range map[string]string{
		"link": "link.tar.gz exists and is not a file", "link.tar.gz": "is not a file", "pipe.tgz": "is not a file", "folder.tar": "is not a file",
		"text": "text.tar.gz exists and is not a tarball that collect made", "theirs.tgz": "not a tarball that collect made of sub/config",
		"new": "", "new.tgz": "", "ours.tgz": "", "broken-off.tgz": "", "deep/er/new": "",
	} {
		j := job(jobs.Collect, dir, "")
		j.Request.CollectOutput, j.Request.CollectTar = "sub/config", name
		_, err := b.preparedAs(b.worker.runAs, j, inline(""))
		if words != "" {
			wantInvalid(t, err, "collectTar: ", words)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A directory that is gone is made for down and destroy alone, and only where its lab is there; it goes with the lab.
func TestADirectoryThatIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	dir := filepath.Join(b.root, "lost")
	b.send(b.birth("lost", jobs.Destroy))
	if got := b.await("lost", ended); got.State != jobs.Success || b.starts.Load() != 0 {
		t.Errorf("without a lab: %s after %d runs", got.State, b.starts.Load())
	}
	b.docker(`{"Names":"clab-x-r1","State":"running","Labels":"containerlab=x,clab-topo-file=`+dir+`/clab.yml"}`, "")
	for _, id := range []string{"down", "destroy"} {
		birth := b.birth(id, jobs.Action(id))
		birth.Workdir = dir
		b.send(birth)
		run := b.next()
		if run.run.Workdir != dir {
			t.Errorf("it runs in %s", run.run.Workdir)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			t.Errorf("%v", err)
		}
		run.result <- nothing
		if got := b.await(id, ended); got.State != jobs.Success {
			t.Errorf("%s: %+v", id, got)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("the directory that was made for it is left")
		}
	}
}
