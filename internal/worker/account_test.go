package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// eachItsOwn has every job run as its own user.
func eachItsOwn(c *Config) { c.RunAs = "" }

func job(action jobs.Action, workdir, user string) *jobs.Job {
	return &jobs.Job{ID: "j1", Action: action, Host: "a", Workdir: workdir, Request: jobs.Request{Action: action, User: user}}
}

func TestAccountOf(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	theirs := own(t, a, filepath.Join(b.root, "theirs"))
	nobodys := filepath.Join(b.root, "nobodys")
	unknown := filepath.Join(b.root, "unknown")
	link := filepath.Join(b.root, "link")
	must(t, os.Mkdir(nobodys, 0o755), os.Chown(nobodys, nobody, nobody), os.Mkdir(unknown, 0o755), os.Chown(unknown, 3999999999, 0),
		os.Symlink(theirs, link))
	homeless := newUser(t)
	must(t, os.RemoveAll(homeless.Home))
	for _, test := range []struct{ name, workdir, user, want, refused string }{
		{"a user that is named", theirs, other.Name, other.Name, ""},
		{"the owner of the directory", theirs, "", a.Name, ""},
		{"the owner of what is above", filepath.Join(theirs, "to", "be", "made"), "", a.Name, ""},
		{"the owner of what a link leads to", filepath.Join(link, "lab"), "", a.Name, ""},
		{"an unknown user", theirs, "no-such-user", "", "no-such-user"},
		{"root", theirs, "root", "", "account of the system"},
		{"a program's", theirs, "daemon", "", "account of the system"},
		{"nobody", theirs, "nobody", "", "account of the system"},
		{"root's directory", filepath.Join(b.root, "new"), "", "", "root, who owns"},
		{"nobody's directory", nobodys, "", "", "account of the system"},
		{"a number's directory", unknown, "", "", "3999999999"},
		{"one without a home", theirs, homeless.Name, "", homeless.Home},
	} {
		who, err := b.worker.accountOf(job(jobs.Up, test.workdir, test.user))
		var bad *invalidError
		switch {
		case test.want != "" && (err != nil || who.Name != test.want):
			t.Errorf("%s: %+v, %v", test.name, who, err)
		case test.want == "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), test.refused) || !strings.HasPrefix(err.Error(), "user: ")):
			t.Errorf("%s: %v, want %q", test.name, err, test.refused)
		}
	}
}

func TestRunAs(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	b := setup(t, func(c *Config) { c.RunAs = a.Name })
	for _, user := range []string{"", "root", a.Name, "no-such-user"} {
		if who, err := b.worker.accountOf(job(jobs.Up, b.root, user)); err != nil || who.UID != a.UID {
			t.Errorf("for %q: %+v, %v", user, who, err)
		}
	}
	b.run()
	b.submit("j1", nil)
	b.next().result <- exec.Result{}
	if got := b.await("j1", ended); got.User != a.Name {
		t.Errorf("it ran as %q", got.User)
	}
	must(t, os.RemoveAll(a.Home))
	var bad *invalidError
	if _, err := b.worker.accountOf(job(jobs.Up, b.root, "")); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "NETLAB_RUN_AS_USER") {
		t.Errorf("without a home: %v", err)
	}
	var unknown *account.UnknownError
	if _, err := runAs("no-such-user"); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "NETLAB_RUN_AS_USER") {
		t.Errorf("%v", err)
	}
	if who, err := runAs("root"); err != nil || who.Credential() != nil {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := runAs(""); err != nil || who != nil {
		t.Errorf("%+v, %v", who, err)
	}
}

// A job runs as the owner of its directory, and its end says so where it was refused.
func TestAJobRunsAsItsUser(t *testing.T) {
	t.Parallel()
	a := newUser(t)
	b := setup(t, eachItsOwn)
	b.run()
	own(t, a, filepath.Join(b.root, "theirs"))
	birth := b.birth("theirs", jobs.Up)
	birth.Workdir = filepath.Join(b.root, "theirs", "lab")
	b.send(birth)
	run := b.next()
	if run.run.User == nil || int(run.run.User.Uid) != a.UID || run.run.Job != "theirs" {
		t.Errorf("it runs as %+v", run.run.User)
	}
	environment := strings.Join(run.run.Env, "\n")
	wantWords(t, environment, "HOME="+a.Home, "USER="+a.Name)
	root := filepath.Join(birth.Workdir, "root's")
	must(t, os.Mkdir(root, 0o700))
	run.asks <- question(t, "default", "clab-x-r1")
	receive(t, run.answers)
	run.phases <- "starting"
	run.result <- nothing
	if got := b.await("theirs", ended); got.State != jobs.Success {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{root, birth.Workdir, filepath.Join(birth.Workdir, topologyFile)} {
		if uid, err := account.OwnerOf(path); err != nil || uid != a.UID {
			t.Errorf("%s belongs to %d, %v", path, uid, err)
		}
	}
	roots := b.birth("roots", jobs.Up)
	b.send(roots)
	wantEnd(t, b.await("roots", ended), jobs.Failed, jobs.ReasonInvalid, "account of the system", "NETLAB_RUN_AS_USER")
	if _, err := os.Stat(roots.Workdir); err == nil {
		t.Error("a directory was made for a job that was refused")
	}
}

// What root has left in the home is given to the job's user; what is somebody else's is said before Netlab starts.
func TestStatusFilesOfOthers(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	b.run()
	own(t, a, filepath.Join(b.root, "theirs"))
	mine := own(t, a, filepath.Join(a.Home, ".netlab"))
	files := []string{filepath.Join(mine, "status.yaml"), filepath.Join(mine, "status.yaml.lock")}
	for _, file := range files {
		must(t, os.WriteFile(file, nil, 0o600))
	}
	birth := b.birth("home", jobs.Up)
	birth.Workdir = filepath.Join(b.root, "theirs", "lab")
	b.send(birth)
	run := b.next()
	wantOwner(t, a, files...)
	run.result <- nothing
	b.await("home", ended)

	state := own(t, a, filepath.Join(b.root, "theirs", "state"))
	for id, file := range map[string]string{"file": "status.yaml", "lock": "status.yaml.lock"} {
		path := filepath.Join(state, file)
		must(t, os.WriteFile(path, nil, 0o644), os.Chown(path, other.UID, other.GID))
		refused := b.birth(id, jobs.Up)
		refused.Workdir, refused.Request.StateRoot = birth.Workdir, state
		b.send(refused)
		wantEnd(t, b.await(id, ended), jobs.Failed, jobs.ReasonInvalid, "stateRoot: ", path, "chown")
		must(t, os.Remove(path))
	}
}

// A job that names no state root is for the lab as it was started.
func TestStateRootOfALabIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	up := b.birth("up", jobs.Up)
	up.Request.StateRoot = filepath.Join(b.root, "state")
	b.send(up)
	run := b.next()
	run.asks <- question(t, "default", "clab-x-r1")
	receive(t, run.answers)
	run.result <- nothing
	b.await("up", ended)
	down := b.birth("down", jobs.Down)
	down.Workdir = up.Workdir
	b.send(down)
	run = b.next()
	if want := filepath.Join(realPath(up.Request.StateRoot), "status.yaml"); run.run.StatusFile != want {
		t.Errorf("the status file is %q, want %q", run.run.StatusFile, want)
	}
	run.result <- nothing
	b.await("down", ended)
	// It was taken down: the next lab there has the status file of the home again.
	again := b.birth("again", jobs.Up)
	again.Workdir = up.Workdir
	b.send(again)
	run = b.next()
	if run.run.StatusFile != "" {
		t.Errorf("after down the status file is %q", run.run.StatusFile)
	}
	run.result <- nothing
	b.await("again", ended)
}
