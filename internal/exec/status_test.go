package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
)

func (b *bundle) query(instance string, text bool) exec.StatusQuery {
	return exec.StatusQuery{Instance: instance, Text: text, StatusFile: b.statusFile, Env: b.env(nil)}
}

func (b *bundle) mustAnswer(t *testing.T, q exec.StatusQuery, wantErr error) string {
	t.Helper()
	answer, err := b.Status(testContext(t), q)
	if !errors.Is(err, wantErr) {
		t.Fatalf("error %v, not %v: %s", err, wantErr, answer)
	}
	return string(answer)
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// labs is a status file with labs in several states of disrepair.
func labs(workdir string) string {
	return `
7:
  dir: ` + workdir + `
  providers: [ external ]
  name: lab
  status: started
  timestamp: 2026-01-02 03:04:05.678901+00:00
  log: [ 'then: started' ]
half:
  dir: ` + workdir + `/half
  providers: [ clab ]
  status: starting provider clab
  log: [ 'then: starting provider clab' ]
ghost:
  dir: /nowhere/at/all
  providers: []
broken:
  dir: /nowhere/else
  providers: [ clab ]
  status: started
`
}

func TestStatusOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if diff := cmp.Diff(map[string]any{"warning": "No netlab-managed labs"}, decode(t, b.mustAnswer(t, b.query("", false), exec.ErrNotFound))); diff != "" {
		t.Error(diff)
	}
	mustContain(t, b.mustAnswer(t, b.query("", true), exec.ErrNotFound), "No netlab-managed labs")
	if diff := cmp.Diff(map[string]any{"error": "Unknown lab instance 9"}, decode(t, b.mustAnswer(t, b.query("9", false), exec.ErrNotFound))); diff != "" {
		t.Error(diff)
	}
	q := b.query("", false)
	q.StatusFile = b.workdir // not a file
	if _, err := b.Status(testContext(t), q); err == nil || errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "Cannot read lab status file") {
		t.Errorf("error %v", err)
	}
}

func TestStatusOfLabs(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": external})
	b.mustSucceed(t, create())
	writeFile(t, b.statusFile, labs(b.workdir))
	half := filepath.Join(b.workdir, "half")
	if err := os.Mkdir(half, 0o755); err != nil {
		t.Fatal(err)
	}

	// One that was generated and never ran, and one of which nothing can be read.
	made, damaged := filepath.Join(b.workdir, "made"), filepath.Join(b.workdir, "damaged")
	for dir, snapshot := range map[string]string{made: readFile(t, filepath.Join(b.workdir, "netlab.snapshot.pickle")), damaged: "no pickle"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "netlab.snapshot.pickle"), snapshot)
	}

	all := decode(t, b.mustAnswer(t, b.query("", false), nil))
	if len(all) != 4 || all["7"].(map[string]any)["timestamp"] != "2026-01-02 03:04:05.678901+00:00" {
		t.Errorf("%v", all)
	}
	one := decode(t, b.mustAnswer(t, b.query("7", false), nil))
	node := one["nodes"].(map[string]any)["r2"].(map[string]any)
	if node["device"] != "frr" || node["mgmt"] != "192.168.121.102" || one["status"] != "started" || one["topology"] != "topology.yml" {
		t.Errorf("%v", one)
	}
	for instance, want := range map[string]string{"half": "Lab is not started", "ghost": "Lab is not started", "broken": "netlab.snapshot.pickle not found"} {
		answer := decode(t, b.mustAnswer(t, b.query(instance, false), nil))
		if text, _ := answer["error"].(string); !strings.Contains(text, want) {
			t.Errorf("%s: %v", instance, answer)
		}
	}
	mustContain(t, b.mustAnswer(t, b.query("", true), nil), "│ id     │ directory ", "│ ghost  │ /nowhere/at/all ")
	mustContain(t, b.mustAnswer(t, b.query("7", true), nil), "│ r2 ")

	// The same as a job's command.
	for name, c := range map[string]struct {
		workdir, instance string
		exitCode          int
		want              []string
	}{
		"here":      {workdir: b.workdir, want: []string{"│ node │ device │ provider │ status │ image │ mgmt IPv4       │", "│ r1   │ frr    │ external │"}},
		"instance":  {workdir: half, instance: "7", want: []string{"│ r1 "}},
		"half":      {workdir: half, want: []string{"Lab half in " + half, "status:      starting provider clab", "then: starting provider clab"}},
		"ghost":     {workdir: half, instance: "ghost", want: []string{"Lab ghost in /nowhere/at/all", "status:      Unknown"}},
		"broken":    {workdir: half, instance: "broken", want: []string{"netlab.snapshot.pickle not found"}},
		"generated": {workdir: made, want: []string{"The lab in " + made + " has no status entry", "│ node │ device │ provider │", "│ r2   │ frr    │ external │", "│ 192.168.121.102 │"}},
		"damaged":   {workdir: damaged, want: []string{"│ id ", "│ half "}},
		"elsewhere": {workdir: b.root, want: []string{"│ id ", "│ half "}},
		"unknown":   {workdir: b.workdir, instance: "8", exitCode: 1, want: []string{"Unknown lab instance 8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := b.run(t, exec.Command{Name: "status"})
			if c.instance != "" {
				r.Commands[0].Args = []string{c.instance}
			}
			r.Workdir, r.Output = c.workdir, filepath.Join(r.Dir, "output")
			result := wait(t, b.start(t, r))
			if result.ExitCode != c.exitCode {
				t.Errorf("%+v", result)
			}
			text := readFile(t, r.Output)
			mustContain(t, text, c.want...)
			if strings.Contains(text, "Traceback") {
				t.Error(text)
			}
		})
	}
}

// A Netlab that writes the file holds its lock, and the file is empty for a while.
func TestStatusWaitsForTheWriter(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	lock, err := unix.Open(b.statusFile+".lock", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(lock, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	writeFile(t, b.statusFile, "")
	written := make(chan error, 1)
	time.AfterFunc(2*time.Second, func() { // longer than a reader without the lock would try
		written <- errors.Join(os.WriteFile(b.statusFile, []byte(labs(b.workdir)), 0o600), unix.Close(lock))
	})
	if all := decode(t, b.mustAnswer(t, b.query("", false), nil)); len(all) != 4 {
		t.Errorf("%v", all)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}
