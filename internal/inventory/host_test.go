package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/test/standins"
)

// TestLabsOfSeveralUsers puts their status files together.
func TestLabsOfSeveralUsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.home("ann"), b.home("bob")
	dirs := realTemp(t)
	for _, dir := range []string{"one", "two", "three", "four"} {
		if err := os.Mkdir(filepath.Join(dirs, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if dir != "four" { // of which nothing but the entry is left
			write(t, filepath.Join(dirs, dir, "netlab.lock"), "")
		}
	}
	entry := func(key, dir string) string {
		return fmt.Sprintf("%s:\n  dir: %s/%s\n  status: started\n  providers: [clab, external]\n  odd: {1: 2}\n", key, dirs, dir)
	}
	status(t, ann.Home, entry("default", "one")+entry("7", "two"))
	status(t, bob.Home, entry("default", "three")+"ghost:\n  dir: "+dirs+"/gone\n  log: []\n  providers: []\n")
	moved := filepath.Join(realTemp(t), "status.yaml")
	write(t, moved, entry("default", "four"))
	// The same file by another name, one that is none, and one that is missing.
	alias := filepath.Join(realTemp(t), "alias.yaml")
	if err := os.Symlink(moved, alias); err != nil {
		t.Fatal(err)
	}
	b.files = []string{moved, alias, "/dev/zero", "/nonexistent/status.yaml", "relative", StatusFile(ann.Home)}

	l := b.labs()
	got := map[string]string{}
	for _, lab := range l.Labs {
		got[lab.Key] = strings.TrimSpace(fmt.Sprint(lab.User, " ", strings.TrimPrefix(lab.Dir, dirs), " ", lab.Status, map[bool]string{true: "ghost"}[lab.Ghost]))
	}
	self, err := account.Self()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"default": "ann /one started", "7": "ann /two started", "default@bob": "bob /three started", "ghost": "bob /gone ghost",
		"default@" + self.Name: self.Name + " /four startedghost",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the labs differ:\n%s", diff)
	}
	if len(l.Problems) != 1 || !strings.Contains(l.Problems[0], "/dev/zero") {
		t.Errorf("the problems are %q", l.Problems)
	}
	text, err := l.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var entries map[string]struct{ Odd map[string]int }
	if err := json.Unmarshal(text, &entries); err != nil || len(entries) != 5 || entries["default@bob"].Odd["1"] != 2 {
		t.Errorf("the JSON is %s, %v", text, err)
	}
	table := l.Text()
	for _, line := range []string{"Active lab instance(s)\n\n┌", "│ id ", "│ default@bob ", " │ Unknown ", " │ clab,external │\n"} {
		if !strings.Contains(table, line) {
			t.Errorf("%q is not in the table\n%s", line, table)
		}
	}
	if got := l.Describe(dirs + "/gone"); !strings.Contains(got, "nothing else") {
		t.Error(got)
	}
}

// TestContainersAlone has labs that no status file lists, one of them from a directory that is gone.
func TestContainersAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, id := range map[string]string{"ml-5": "5", "hand": "9"} {
		dir := filepath.Join(realTemp(t), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "clab.yml"), fmt.Sprintf("name: %s\nmgmt: {network: net%s, ipv4-subnet: 10.%s.0.0/24}\ntopology: {nodes: {r1: {kind: linux, image: i, mgmt-ipv4: 10.%s.0.11}}}\n", name, id, id, id))
		cmd := exec.CommandContext(t.Context(), filepath.Join(b.docker.Path(), "containerlab"), "deploy", "-t", "clab.yml")
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + b.path()}
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if name == "hand" {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := b.labs()
	if len(l.Labs) != 2 || len(l.Entries()) != 0 {
		t.Fatalf("there are %+v", l.Labs)
	}
	five, ok := l.Lab("5")
	if !ok || five.Total != 1 || five.Gone || five.User == "" || five.Networks[0].Subnet != "10.5.0.0/24" || five.Addresses[0] != "10.5.0.11" {
		t.Errorf("the multilab is %+v", five)
	}
	hand, ok := l.Lab("hand")
	if !ok || !hand.Gone || hand.Running != 1 || !strings.Contains(l.Describe(hand.Dir), "`destroy` removes it") {
		t.Errorf("the lab without a directory is %+v", hand)
	}
	if id, err := l.FreeID(nil); err != nil || id == 5 {
		t.Errorf("free is %d, %v", id, err)
	}
}

// TestLooksAreShared has many ask while one look is under way: they get the next one, which sees what happened before they asked.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.home("ann")
	gate := b.docker.Gate("gate")
	b.docker.SetKnob("docker ps", standins.Knob{Gate: "gate", Times: 1})
	firstLook := make(chan *Listing, 1)
	go func() {
		l, err := b.host.Labs(t.Context())
		if err != nil {
			t.Error(err)
		}
		firstLook <- l
	}()
	gate.Await(limit)
	status(t, a.Home, oneLab)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.host.Labs(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if l, err := b.host.Labs(t.Context()); err != nil || len(l.Labs) != 1 {
				t.Errorf("a look that began later: %+v, %v", l, err)
			}
		})
	}
	gate.Open()
	<-firstLook
	wg.Wait()
	asked := 0
	for _, call := range b.docker.Calls() {
		if strings.Join(call.Argv[1:2], "") == "ps" {
			asked++
		}
	}
	if asked > 12 {
		t.Errorf("docker was asked %d times for 52 looks", asked)
	}
}

// TestOtherUsersFiles has a user who would have root read, or wait for, what is not theirs.
func TestOtherUsersFiles(t *testing.T) {
	t.Parallel()
	ann, eve := newUser(t), newUser(t)
	b := setup(t)
	b.homes = []account.Account{*ann, *eve}
	file := func(who *account.Account, path, text string, mode os.FileMode) {
		t.Helper()
		err := who.Do(func() error {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			return os.WriteFile(path, []byte(text), mode)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := "secret:\n  dir: /secret\n  status: hidden\n"
	file(ann, StatusFile(ann.Home), secret, 0o600)
	file(ann, ann.Home+"/private/clab.yml", "name: private\ntopology: {nodes: {r1: {}}}\n", 0o600)
	if err := os.Chmod(ann.Home+"/private", 0o700); err != nil {
		t.Fatal(err)
	}
	rootFile := filepath.Join(realTemp(t), "root.yaml")
	write(t, rootFile, secret)
	if err := os.Chmod(rootFile, 0o600); err != nil {
		t.Fatal(err)
	}
	trick := func(make func(path string) error) *Listing {
		t.Helper()
		path := StatusFile(eve.Home)
		err := eve.Do(func() error {
			_ = os.MkdirAll(filepath.Dir(path), 0o755)
			_ = os.Remove(path)
			return make(path)
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.labs()
	}
	for name, make := range map[string]func(path string) error{
		"a link to another user's": func(path string) error { return os.Symlink(StatusFile(ann.Home), path) },
		"a link to root's":         func(path string) error { return os.Symlink(rootFile, path) },
		"a pipe":                   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link to a device":       func(path string) error { return os.Symlink("/dev/zero", path) },
		"a link to /dev/tty":       func(path string) error { return os.Symlink("/dev/tty", path) },
	} {
		l := trick(make)
		if len(l.Labs) != 1 || l.Labs[0].User != ann.Name || len(l.Problems) != 1 || strings.Contains(strings.Join(l.Problems, ""), "hidden") {
			t.Errorf("%s: %+v, problems %q", name, l.Labs, l.Problems)
		}
	}
	l := trick(func(path string) error {
		return os.WriteFile(path, []byte("1:\n  dir: "+ann.Home+"/private\n  status: started\n2:\n  dir: /root\n"), 0o600)
	})
	lab, ok := l.Lab("1")
	if !ok || lab.User != eve.Name || lab.Name != "" || len(lab.Containers) != 0 {
		t.Errorf("a directory that is closed to its user: %+v", lab)
	}
	// Their own file, also in a state root.
	file(eve, eve.Home+"/state/status.yaml", "3:\n  dir: /x\n  status: started\n", 0o600)
	b.files = []string{eve.Home + "/state/status.yaml"}
	if lab, ok := b.labs().Lab("3"); !ok || lab.User != eve.Name {
		t.Errorf("a lab in a state root: %+v", lab)
	}
}
