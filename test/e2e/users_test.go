package e2e_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/asroot"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

// crowd is a fleet for users of the machine that were made for the test.
type crowd struct {
	*fleet
	python string
}

// newCrowd prepares a fleet whose worker may run jobs as any user.
func newCrowd(t *testing.T, python string) *crowd {
	t.Helper()
	c := &crowd{fleet: newFleet(t), python: python}
	c.extra = []string{"NETLAB_RUN_AS_USER=", "NETLAB_WORKER_PYTHON=" + python, "NETLAB_WORKER_PATH=" + c.path("bin") + "," + c.standins.Path()}
	// Netlab asks this program whether a user may run containerlab.
	groups := c.path("bin", "groups")
	if err := errors.Join(os.Mkdir(filepath.Dir(groups), 0o755), os.WriteFile(groups, []byte("#!/bin/sh\necho clab_admins\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return c
}

// person makes a user, who has a directory of that name in the root of the labs.
func (c *crowd) person(t *testing.T) *people.Person {
	t.Helper()
	p := people.New(t, c.path())
	dir := filepath.Join(c.root, p.Name)
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, p.UID, p.GID)); err != nil {
		t.Fatal(err)
	}
	return p
}

// own makes a directory of the user's with a copy of a sample lab.
func (c *crowd) own(t *testing.T, p *people.Person, name, sample string) string {
	t.Helper()
	dir := c.lab(filepath.Join(p.Name, name), sample)
	p.Own(t, dir)
	return dir
}

// witness is a plugin that writes down as whom Netlab runs.
const witness = `import json, os, sys

def init(topology):
    umask = os.umask(0)
    os.umask(umask)
    with open("seen.json", "w") as file:
        json.dump({
            "ids": sorted({*os.getresuid()}), "gids": sorted({*os.getresgid()}), "groups": sorted(os.getgroups()), "umask": umask,
            "dir": os.getcwd(), "home": os.path.expanduser("~"),
            "environment": {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME", "PWD")},
        }, file)
`

type seen struct {
	IDs, GIDs, Groups []int
	Umask             int
	Dir, Home         string
	Environment       map[string]string
}

// addWitness gives the plugin to an external lab.
func addWitness(t *testing.T, dir string, owner *people.Person) {
	t.Helper()
	topology, err := os.ReadFile(filepath.Join(dir, "topology.yml"))
	if err == nil {
		err = errors.Join(
			os.WriteFile(filepath.Join(dir, "topology.yml"), append(topology, "\nplugin: [ witness ]\n"...), 0o644),
			os.WriteFile(filepath.Join(dir, "witness.py"), []byte(witness), 0o644),
		)
	}
	if err != nil {
		t.Fatal(err)
	}
	owner.Own(t, dir)
}

// ranAs checks as whom Netlab ran in the directory.
func ranAs(t *testing.T, p *people.Person, dir string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "seen.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatal(err)
	}
	groups := []int{p.GID, p.Group}
	slices.Sort(groups)
	environment := map[string]string{"HOME": p.Home, "USER": p.Name, "LOGNAME": p.Name, "PWD": dir}
	if !slices.Equal(s.IDs, []int{p.UID}) || !slices.Equal(s.GIDs, []int{p.GID}) || !slices.Equal(s.Groups, groups) || s.Umask != 0o022 ||
		s.Dir != dir || s.Home != p.Home {
		t.Errorf("Netlab ran as %+v, want %+v in %s", s, *p, dir)
	}
	for name, want := range environment {
		if s.Environment[name] != want {
			t.Errorf("%s is %q, want %q", name, s.Environment[name], want)
		}
	}
	owns(t, p.UID, dir)
}

// owns checks that all in the directory is the user's.
func owns(t *testing.T, uid int, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			if owner := ownerOf(t, name); owner != uid {
				t.Errorf("%s is user %d's, want %d", name, owner, uid)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func ownerOf(t *testing.T, name string) int {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: %T", name, info.Sys())
	}
	return int(stat.Uid)
}

// Jobs run with the rights of the people whose they are, and of nobody else.
func TestUsers(t *testing.T) {
	t.Parallel()
	asroot.Need(t, "users are made for this test")
	// Below /tmp, as the tests' own directories, and like those of the stand-ins open to all.
	dir, err := os.MkdirTemp("", "netlab-e2e-python-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(binaries, 0o755)); err != nil {
		t.Fatal(err)
	}
	python := people.Python(t, standins.Python(t), dir)
	for name, test := range map[string]func(*testing.T, *crowd){
		"as the user":        testAsTheUser,
		"impossible":         testImpossibleUsers,
		"side by side":       testSideBySide,
		"one for all":        testOneUserForAll,
		"worker is not root": testWorkerIsNotRoot,
		"another's entry":    testEntryOfAnotherUser,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newCrowd(t, python))
		})
	}
}

func testAsTheUser(t *testing.T, c *crowd) {
	ann, bob := c.person(t), c.person(t)
	// With a umask of its own, which is not to be the jobs'.
	wrapper := c.path("bin", "netlab-api")
	script := "#!/bin/sh\numask 002\nexec " + filepath.Join(binaries, "netlab-api") + " \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	a := c.startAs(t, nil, wrapper, "NETLAB_API_DATA_DIR="+c.path("data"))
	text := external(t)

	// As the one who is named, with what root left there before.
	dir := c.own(t, ann, "named", "external")
	addWitness(t, dir, ann)
	canary := c.path("canary")
	left := filepath.Join(dir, "left", "by", "root")
	err := errors.Join(
		os.WriteFile(canary, nil, 0o600), os.MkdirAll(left, 0o700), os.WriteFile(filepath.Join(left, "file"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "hosts.yml"), []byte("root's\n"), 0o600),
		os.Symlink(canary, filepath.Join(left, "link")),
		os.Link(canary, c.path("other-name")),
	)
	if err != nil {
		t.Fatal(err)
	}
	job, log := a.run(t, jobs.Success, object{"action": "create", "user": ann.Name, "workdir": dir})
	if job.User != ann.Name || !strings.Contains(log, " as "+ann.Name+",") {
		t.Errorf("user %q, log:\n%s", job.User, log)
	}
	ranAs(t, ann, dir)
	if owner := ownerOf(t, canary); owner != 0 {
		t.Errorf("a file of root's outside of the directory was given to %d", owner)
	}

	// As the owner of the directory. What root has made there by hand, a whole lab, is no obstacle.
	dir = c.own(t, bob, "owned", "external")
	addWitness(t, dir, bob)
	netlab := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(c.python), "netlab"), "create")
	netlab.Dir, netlab.Env = dir, []string{"HOME=" + c.path("home"), "PATH=" + filepath.Dir(c.python) + ":/usr/bin:/bin"}
	if out, err := netlab.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, "seen.json")); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"up", "restart", "down"} {
		job, log = a.run(t, jobs.Success, object{"action": action, "workdir": dir})
		if job.User != bob.Name || !strings.Contains(log, " as "+bob.Name+",") {
			t.Errorf("%s: user %q\n%s", action, job.User, log)
		}
	}
	ranAs(t, bob, dir)
	owns(t, bob.UID, filepath.Join(bob.Home, ".netlab"))

	// As the owner of the nearest parent that there is, who then owns what is made.
	_, log = a.run(t, jobs.Success, object{"action": "create", "workdir": filepath.Join(c.root, bob.Name, "deep", "lab"), "topology": text})
	if !strings.Contains(log, " as "+bob.Name+",") {
		t.Errorf("log:\n%s", log)
	}
	owns(t, bob.UID, filepath.Join(c.root, bob.Name))

	// The first directory below a root of root's is made for the user.
	a.run(t, jobs.Success, object{"action": "create", "user": ann.Name, "workdir": filepath.Join(c.root, "team", "lab"), "topology": text})
	owns(t, ann.UID, filepath.Join(c.root, "team"))
}

// Whoever destroys a lab cannot write the status file that lists it: it is that of the lab's user before, or of another stateRoot.
func testEntryOfAnotherUser(t *testing.T, c *crowd) {
	ann, bob := c.person(t), c.person(t)
	c.startSingle()
	a := c.any()
	state := filepath.Join(c.root, ann.Name, "state")
	for name, payload := range map[string]object{"given": {}, "stated": {"stateRoot": state}} {
		dir := c.own(t, ann, name, "external")
		payload["action"], payload["workdir"] = "up", dir
		a.run(t, jobs.Success, payload)
		owner := ann
		if name == "given" {
			owner = bob
			bob.Own(t, dir)
		}
		destroy := object{"action": "destroy", "workdir": dir}
		if name == "stated" {
			destroy["stateRoot"] = state + "-of-another"
		}
		job, log := a.run(t, jobs.Success, destroy)
		if job.User != owner.Name || !strings.Contains(log, "is not listed any more in") {
			t.Errorf("%s: user %s\n%s", name, job.User, log)
		}
		if labs := a.labs(t); len(labs) > 0 {
			t.Errorf("%s: %v", name, labs)
		}
		a.run(t, jobs.Success, object{"action": "up", "workdir": c.own(t, ann, name+"-next", "external")})
		a.run(t, jobs.Success, object{"action": "destroy", "workdir": filepath.Join(c.root, ann.Name, name+"-next")})
	}
}

func external(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../labs/external/topology.yml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func testImpossibleUsers(t *testing.T, c *crowd) {
	ann, bob, lost, full := c.person(t), c.person(t), c.person(t), c.person(t)
	c.startSingle()
	a := c.any()
	anns, bobs, lostsDir, fulls := c.own(t, ann, "lab", "external"), c.own(t, bob, "lab", "external"), c.own(t, lost, "lab", "external"), c.own(t, full, "lab", "external")
	roots := c.lab("roots", "external")
	closed := filepath.Join(c.root, bob.Name, "closed")
	if err := errors.Join(os.RemoveAll(lost.Home), os.Chown(full.Home, 0, 0), os.Chmod(full.Home, 0o755), os.Mkdir(closed, 0o700), os.Chown(closed, bob.UID, bob.GID)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		payload object
		words   []string
	}{
		{"unknown user", object{"user": "nobodyatall", "workdir": anns}, []string{"user", "nobodyatall", "alpha"}},
		{"system account", object{"user": "daemon", "workdir": anns}, []string{"user", "daemon", "account of the system"}},
		{"root", object{"user": "root", "workdir": anns}, []string{"user", "root", "account of the system"}},
		{"directory of root's", object{"workdir": roots}, []string{"root", roots, "NETLAB_RUN_AS_USER"}},
		{"no home", object{"user": lost.Name, "workdir": lostsDir}, []string{"user", lost.Name, lost.Home}},
		{"home of somebody else", object{"workdir": fulls}, []string{"user", full.Name, full.Home}},
		{"directory of somebody else", object{"user": ann.Name, "workdir": bobs}, []string{"workdir", ann.Name, bobs}},
		{"directory that is closed", object{"user": ann.Name, "workdir": closed, "topology": external(t)}, []string{"workdir", ann.Name, closed}},
		{"parent of somebody else", object{"user": ann.Name, "workdir": filepath.Join(c.root, bob.Name, "new"), "topology": external(t)}, []string{"workdir", ann.Name, bob.Name}},
		{"in the place of another user", object{"user": ann.Name, "workdir": filepath.Join(c.root, "daemon", "lab"), "topology": external(t)}, []string{"workdir", "daemon"}},
	} {
		for _, action := range []string{"up", "destroy"} {
			if _, ok := test.payload["topology"]; ok && action == "destroy" {
				continue
			}
			test.payload["action"] = action
			dir, _ := test.payload["workdir"].(string)
			before, _ := os.ReadDir(dir)
			job, log := a.run(t, jobs.Failed, test.payload)
			if job.Reason != jobs.ReasonInvalid || job.ExitCode != nil || strings.Contains(log, "netlab "+action) {
				t.Errorf("%s of %s: reason %q, exit code %v, log:\n%s", action, test.name, job.Reason, job.ExitCode, log)
			}
			for _, word := range test.words {
				if !strings.Contains(text(job.Error), word) || !strings.Contains(log, word) {
					t.Errorf("%s of %s: no %q in the error %q or the log %q", action, test.name, word, text(job.Error), log)
				}
			}
			if after, _ := os.ReadDir(dir); len(after) != len(before) {
				t.Errorf("%s of %s: %d files, before %d", action, test.name, len(after), len(before))
			}
		}
	}
	if calls := c.standins.Calls("containerlab deploy", "containerlab destroy"); len(calls) > 0 {
		t.Errorf("calls %v", calls)
	}
	if exists(t, c.root, "daemon") || exists(t, c.root, bob.Name, "new") {
		t.Error("a directory was made")
	}
}

// Two users' labs in directories of the same name, and a third one's that was started by hand.
func testSideBySide(t *testing.T, c *crowd) {
	ann, bob, eve := c.person(t), c.person(t), c.person(t)
	c.startSingle()
	a := c.any()
	first, second := c.own(t, ann, "lab", "linux2"), c.own(t, bob, "lab", "linux2")
	up, _ := a.run(t, jobs.Success, object{"action": "up", "user": ann.Name, "workdir": first})
	owns(t, ann.UID, first)

	job, log := a.run(t, jobs.Failed, object{"action": "up", "user": bob.Name, "workdir": second})
	if job.Reason != jobs.ReasonInvalid || job.ExitCode != nil {
		t.Errorf("reason %q, exit code %v\n%s", job.Reason, job.ExitCode, log)
	}
	for _, word := range []string{first, ann.Name, "multilabId", "destroy"} {
		if !strings.Contains(text(job.Error), word) {
			t.Errorf("no %q in %q", word, text(job.Error))
		}
	}
	if files, err := os.ReadDir(second); err != nil || len(files) != 1 {
		t.Errorf("files %v %v", files, err)
	}
	if n := len(c.standins.Calls("containerlab deploy")); n != 1 {
		t.Errorf("%d deployments", n)
	}
	// The remedy that it names.
	a.run(t, jobs.Success, object{"action": "up", "user": bob.Name, "workdir": second, "multilabId": 7})

	// Of the same name and id, by hand, and of another user.
	third, fourth := c.own(t, eve, "hand", "external"), c.own(t, ann, "hand", "external")
	c.byHandAs(t, eve, third, "up")
	a.run(t, jobs.Success, object{"action": "up", "workdir": fourth})

	type entry struct{ User, Instance, Job string }
	want := map[string]entry{
		first: {ann.Name, "default", up.ID}, second: {bob.Name, "7", "?"}, third: {eve.Name, "external_hand", ""}, fourth: {ann.Name, "external_hand", "?"},
	}
	list := a.labs(t)
	for dir, w := range want {
		l, ok := list[dir]
		if !ok || l.User != w.User || l.Instance != w.Instance || (l.Job == nil) != (w.Job == "") || w.Job != "?" && l.Job != nil && *l.Job != w.Job {
			t.Errorf("lab in %s: %+v, want %+v", dir, l, w)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d labs, want %d", len(list), len(want))
	}
	var all map[string]struct{ Dir string }
	a.get(t, "/status", &all)
	for key, lab := range all {
		if _, ok := want[lab.Dir]; !ok {
			t.Errorf("GET /status has %s in %q", key, lab.Dir)
		}
		var one struct{ Nodes map[string]any }
		if a.get(t, "/status/"+key, &one); len(one.Nodes) < 2 {
			t.Errorf("GET /status/%s: %+v", key, one)
		}
	}
	if len(all) != len(want) {
		t.Errorf("GET /status: %v", all)
	}
	for dir := range want {
		a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	}
	if list := a.labs(t); len(list) > 0 || len(c.standins.Containers()) > 0 {
		t.Errorf("labs after destroy: %v, containers %v", list, c.standins.Containers())
	}
}

// byHandAs runs Netlab as the user would in a shell.
func (c *crowd) byHandAs(t *testing.T, p *people.Person, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(c.python), "netlab"), args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + p.Home, "USER=" + p.Name, "PWD=" + dir, "LANG=C.UTF-8", "CLAB_VERSION_CHECK=disable",
		"PATH=" + c.path("bin") + ":" + c.standins.Path() + ":" + filepath.Dir(c.python) + ":/usr/bin:/bin",
	}
	cmd.Stdin = strings.NewReader("y\n") // the external provider asks
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.Credential()}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("netlab %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

func testOneUserForAll(t *testing.T, c *crowd) {
	ann, bob := c.person(t), c.person(t)
	c.extra = append(c.extra, "NETLAB_RUN_AS_USER="+ann.Name)
	c.startSingle()
	a := c.any()
	dir := c.own(t, ann, "lab", "external")
	addWitness(t, dir, ann)
	_, log := a.run(t, jobs.Success, object{"action": "create", "user": bob.Name, "workdir": dir})
	if want := "this host runs every job as " + ann.Name + ", so not as " + bob.Name; !strings.Contains(log, want) {
		t.Errorf("no %q in\n%s", want, log)
	}
	ranAs(t, ann, dir)
	job, _ := a.run(t, jobs.Failed, object{"action": "create", "user": bob.Name, "workdir": c.own(t, bob, "lab", "external")})
	if job.Reason != jobs.ReasonInvalid || !strings.Contains(text(job.Error), ann.Name) {
		t.Errorf("reason %q, error %s", job.Reason, text(job.Error))
	}
}

func testWorkerIsNotRoot(t *testing.T, c *crowd) {
	ann, bob := c.person(t), c.person(t)
	a := c.startAs(t, ann.Credential(), filepath.Join(binaries, "netlab-api"), "HOME="+ann.Home, "NETLAB_API_DATA_DIR="+filepath.Join(ann.Home, "data"))
	a.expect("the worker is not root.*user=" + ann.Name)

	dir := c.own(t, ann, "lab", "external")
	addWitness(t, dir, ann)
	job, log := a.run(t, jobs.Success, object{"action": "up", "user": bob.Name, "workdir": dir})
	if want := "this host runs every job as " + ann.Name + ", so not as " + bob.Name; !strings.Contains(log, want) {
		t.Errorf("no %q in\n%s", want, log)
	}
	if l := a.labs(t)[dir]; l.User != ann.Name || l.Job == nil || *l.Job != job.ID {
		t.Errorf("lab %+v", l)
	}
	// What root has left is in the way, or stays; a job says which.
	left := filepath.Join(dir, "hosts.yml")
	if err := errors.Join(os.Chown(left, 0, 0), os.Chmod(left, 0o600)); err != nil {
		t.Fatal(err)
	}
	a.run(t, jobs.Success, object{"action": "down", "workdir": dir})
	if owner := ownerOf(t, left); owner != 0 {
		t.Errorf("%s is user %d's", left, owner)
	}
	refused, _ := a.run(t, jobs.Failed, object{"action": "create", "workdir": c.own(t, bob, "lab", "external")})
	if refused.Reason != jobs.ReasonInvalid || !strings.Contains(text(refused.Error), ann.Name) {
		t.Errorf("reason %q, error %s", refused.Reason, text(refused.Error))
	}
	other := launchAs(t, ann.Credential(), "netlab-api", append(a.env, "NETLAB_RUN_AS_USER="+bob.Name, "NETLAB_API_DATA_DIR="+filepath.Join(ann.Home, "other")))
	other.expect("NETLAB_RUN_AS_USER")
	if <-other.done; other.cmd.ProcessState.ExitCode() == 0 {
		t.Error("a worker that is not root starts though it is to run jobs as somebody else")
	}
}

// startAs starts the program with everything in it, as the user; nil: as the test's own.
func (c *crowd) startAs(t *testing.T, who *syscall.Credential, program string, extra ...string) *api {
	t.Helper()
	env := append(append(c.environment("home"), "NETLAB_API_PORT=0", "NETLAB_API_WITH_WORKER=true", "NETLAB_WORKER_HOST=alpha"), extra...)
	name, err := filepath.Rel(binaries, program)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{program: launchAs(t, who, name, env), env: env, client: newClient()}
	a.reach(a.expect(`listening.* address=(\S+)`)[1])
	a.awaitReady(1)
	return a
}
