package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"netlab-runner/test/standins"
)

// TestWithTheRealNetlab goes through a lab's life, as Netlab writes it.
func TestWithTheRealNetlab(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.home("ann")
	if l := b.labs(); len(l.Labs) != 0 || l.NoDocker != "" || len(l.Problems) != 0 || l.Text() != "No netlab-managed labs\n" {
		t.Errorf("an empty host has %+v", l)
	}
	dir := b.lab("linux2", "trylinux2")
	b.mustNetlab(a.Home, dir, "up", "-q")

	l := b.labs()
	if len(l.Labs) != 1 || len(l.Problems) != 0 {
		t.Fatalf("there are %+v, problems %v", l.Labs, l.Problems)
	}
	lab := l.Labs[0]
	want := Lab{
		Identity: Identity{
			Instance: "default", Name: "trylinux2", Dir: dir, Provider: "clab", StatusFile: StatusFile(a.Home),
			Containers: []string{"clab-trylinux2-h1", "clab-trylinux2-h2", "clab-trylinux2-r1"},
			Networks:   []Network{{Name: "netlab_mgmt", Bridge: "br-netlab_mgmt", Subnet: "192.168.121.0/24"}},
			Addresses:  []string{"192.168.121.101", "192.168.121.102", "192.168.121.103"},
			Bridges:    []string{"trylinux2_1"},
		},
		Key: "default", User: "ann", Status: "started", Providers: []string{"clab"}, Made: MadeAt(dir), Total: 3, Running: 3,
	}
	slices.Sort(lab.Containers)
	if diff := cmp.Diff(want, lab, cmpopts.IgnoreUnexported(Lab{}), cmpopts.IgnoreFields(Lab{}, "Entry")); diff != "" {
		t.Errorf("the lab differs:\n%s", diff)
	}
	if got := l.Describe(dir); got != "lab default in "+dir+": status 'started', 3 containers (3 running); `down` or `destroy` takes it down" {
		t.Error(got)
	}
	b.sameAsNetlab(a.Home, l)

	// What an interrupted run leaves.
	containers := b.docker.Containers()
	if err := exec.Command(filepath.Join(b.docker.Path(), "docker"), "stop", containers[0].Name).Run(); err != nil {
		t.Fatal(err)
	}
	if lab := b.labs().Labs[0]; lab.Total != 3 || lab.Running != 2 {
		t.Errorf("with one stopped there are %d containers, %d running", lab.Total, lab.Running)
	}
	b.mustNetlab(a.Home, dir, "down", "--cleanup")
	if l := b.labs(); len(l.Labs) != 0 || !strings.HasPrefix(l.Describe(dir), "no lab in "+dir) {
		t.Errorf("after down there are %+v; %s", l.Labs, l.Describe(dir))
	}
}

// sameAsNetlab compares with what `netlab status --all` prints.
func (b *bench) sameAsNetlab(home string, l *Listing) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), filepath.Join(filepath.Dir(b.python), "netlab"), "status", "--all", "--format", "json")
	cmd.Env = []string{"HOME=" + home, "PATH=" + b.path(), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1", "TERM=dumb"}
	output, err := cmd.Output()
	if err != nil {
		b.t.Fatal(err)
	}
	var theirs, ours any
	if err := json.Unmarshal(output, &theirs); err != nil {
		b.t.Fatalf("%v: %s", err, output)
	}
	text, err := l.JSON()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &ours); err != nil {
		b.t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		b.t.Errorf("Netlab's JSON and ours differ:\n%s", diff)
	}
}

// TestWithAFailedUp looks at what Netlab leaves of an up that failed.
func TestWithAFailedUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.home("ann")
	dir := b.lab("frr3", "tryfrr3")
	b.docker.SetKnob("containerlab deploy", standins.Knob{Fail: 1, Partial: 1})
	if err := b.netlab(a.Home, dir, "up", "-q"); err == nil {
		t.Fatal("the up did not fail")
	}
	got := b.labs().Describe(dir)
	if want := "lab default in " + dir + ": status 'starting provider clab', 1 container (1 running); `destroy` removes it, `up` goes on"; got != want {
		t.Errorf("it is described as %s\nwant %s", got, want)
	}
	// Its status file is lost, its containers are not.
	if err := os.Remove(StatusFile(a.Home)); err != nil {
		t.Fatal(err)
	}
	l := b.labs()
	if got := l.Describe(dir); !strings.Contains(got, "which Netlab's status file does not list") {
		t.Error(got)
	}
	other := Identity{Instance: "default", Name: "tryfrr3", Dir: "/elsewhere/tryfrr3", Containers: []string{"clab-tryfrr3-r9"}}
	var clash *ClashError
	if err := l.Clash(other, nil); !errors.As(err, &clash) || clash.Dir != dir || !strings.Contains(clash.Remedy, dir) {
		t.Errorf("a lab of the same name elsewhere: %v", err)
	}
}

// TestDocker has a Docker that is missing, fails, hangs, and talks nonsense.
func TestDocker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.home("ann")
	dir := realTemp(t)
	status(t, a.Home, "default:\n  dir: "+dir+"\n  status: started\n  providers: [clab]\n")
	text := func(s string) *string { return &s }
	tests := map[string]struct {
		knob standins.Knob
		want string
	}{
		"fails":    {standins.Knob{Fail: 1, Stderr: "Cannot connect to the\x1b[31m Docker daemon\n"}, "Cannot connect to the\uFFFD[31m Docker daemon"},
		"hangs":    {standins.Knob{Sleep: 60, Ignore: []string{"TERM", "INT"}}, "docker ps has not answered for 8s"},
		"nonsense": {standins.Knob{Stdout: text("CONTAINER ID   IMAGE\n")}, "what docker ps says cannot be read"},
		"too much": {standins.Knob{Stdout: text(strings.Repeat(" ", mostOutput+1))}, "says more than"},
	}
	for name, test := range tests {
		b.docker.SetKnob("docker ps", test.knob)
		l := b.labs()
		if !strings.Contains(l.NoDocker, test.want) || len(l.Labs) != 1 {
			t.Errorf("docker %s: %q, %d labs", name, l.NoDocker, len(l.Labs))
		}
		if got := l.Describe(dir); !strings.Contains(got, "containers are not known: ") {
			t.Errorf("docker %s: %s", name, got)
		}
	}
	b.docker.SetKnob("docker ps")
	b.host.Path = "/nonexistent:relative"
	if l := b.labs(); !strings.Contains(l.NoDocker, "no docker program") || len(l.Labs) != 1 {
		t.Errorf("without docker: %q", l.NoDocker)
	}
}

// TestDockerWithAChild has a docker whose child outlives it and holds its output open.
func TestDockerWithAChild(t *testing.T) {
	t.Parallel()
	dir := realTemp(t)
	pidFile := filepath.Join(dir, "pid")
	write(t, filepath.Join(dir, "docker"), "#!/bin/sh\nsleep 600 &\necho $! >"+pidFile+"\nwait\n")
	if err := os.Chmod(filepath.Join(dir, "docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(pidFile); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	l, err := (&Host{Path: dir + ":/usr/bin:/bin"}).Labs(ctx)
	if err != nil || !strings.Contains(l.NoDocker, "has not answered") {
		t.Errorf("%+v, %v", l, err)
	}
}
