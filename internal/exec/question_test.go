package exec_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netlab-runner/internal/exec"
)

// asker is a plugin that asks the question in the file question, as the driver does before it starts a lab.
const asker = `
import json, os, sys
from netlab_driver.record import Recorder
from netsim.utils import log
def init(topology):
  recorder = Recorder(open("rundir").read(), json.load(open(f"{open('rundir').read()}/plan.json")).get("ask", False))
  recorder.driver = os.getppid()
  if os.path.exists("noise"):
    with open("noise", "rb") as noise, open(recorder.dir + "/progress", "ab") as progress:
      progress.write(noise.read())
  log.section_header("Asking", "now")
  verdict = recorder.ask(json.load(open("question")))
  open("verdict", "w").write(json.dumps(verdict))
  if verdict.get("refused"):
    recorder.invalid(verdict["refused"])
    sys.exit("refused")
`

const question = `{"name":"lab","containers":["clab-lab-r1"]}`

func newAsker(t *testing.T, question string) (*bundle, exec.Run) {
	t.Helper()
	b := setup(t, map[string]string{
		"topology.yml": threeRouters + "plugin: [ chatter ]\n", "chatter.py": asker, "question": question,
	})
	r := b.run(t, create())
	r.Ask = true
	writeFile(t, filepath.Join(b.workdir, "rundir"), r.Dir)
	return b, r
}

// waitForQuestion returns the run's question, or "" where the run ends without one.
func waitForQuestion(t *testing.T, p *exec.Process) string {
	t.Helper()
	select {
	case asked := <-p.Asks():
		return string(asked)
	case <-testContext(t).Done():
		t.Fatal("no question")
		return ""
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	x, errX := json.Marshal(decode(t, a))
	y, errY := json.Marshal(decode(t, b))
	return errX == nil && errY == nil && string(x) == string(y)
}

func TestQuestionAnswered(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	p := b.start(t, r)
	asked := waitForQuestion(t, p)
	if !sameJSON(t, asked, question) {
		t.Errorf("question %s", asked)
	}
	if claim, ok := exec.Claimed(r.Dir); ok {
		t.Errorf("claimed before the answer: %s", claim)
	}
	if _, err := os.Stat(filepath.Join(b.workdir, "clab.yml")); err == nil {
		t.Error("the run did not wait")
	}
	for _, refused := range []string{"", "too late"} {
		if err := p.Answer(refused); err != nil {
			t.Fatal(err)
		}
	}
	if result := wait(t, p); result.ExitCode != 0 || result.Invalid {
		t.Errorf("%+v", result)
	}
	if claim, ok := exec.Claimed(r.Dir); !ok || !sameJSON(t, string(claim), question) {
		t.Errorf("claim %s", claim)
	}
	if again, more := <-p.Asks(); more {
		t.Errorf("asked twice: %s", again)
	}
	later, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if asked := waitForQuestion(t, later); asked != "" {
		t.Errorf("asked though it was answered: %s", asked)
	}
	wantSamples(t, r.Dir)
	// Nobody can change what was agreed to.
	writeFile(t, filepath.Join(r.Dir, "progress"), `{"question":{"name":"other"}}`+"\n")
	if claim, ok := exec.Claimed(r.Dir); !ok || !sameJSON(t, string(claim), question) {
		t.Errorf("claim %s", claim)
	}
}

// An answer that cannot be read starts nothing.
func TestQuestionWhoseAnswerIsDamaged(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.Dir, "verdict.json"), `{"question":`)
	result := wait(t, b.start(t, r))
	if result.ExitCode != 1 || !result.Invalid {
		t.Errorf("%+v", result)
	}
	mustContain(t, result.Error, "verdict.json) is damaged")
}

func TestQuestionRefused(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	p := b.start(t, r)
	waitForQuestion(t, p)
	const text = "lab has the same name as the one in /home/ada/lab: give it another name"
	if err := p.Answer(text); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, p); result.ExitCode != 1 || !result.Invalid || result.Error != text || result.HostFault {
		t.Errorf("%+v", result)
	}
	if claim, ok := exec.Claimed(r.Dir); ok {
		t.Errorf("claimed: %s", claim)
	}
}

func TestQuestionWaitsForTheNextWorker(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	p := b.start(t, r)
	waitForQuestion(t, p)
	p.Release()

	second, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	waitForQuestion(t, second) // and is away before it has answered
	second.Release()
	third, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer third.Release()
	if asked := waitForQuestion(t, third); !sameJSON(t, asked, question) {
		t.Errorf("question %s", asked)
	}
	if err := third.Answer(""); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, third); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
	if claim, ok := exec.Claimed(r.Dir); !ok || !sameJSON(t, string(claim), question) {
		t.Errorf("claim %s", claim)
	}
}

// An answer from a worker that knows the lab without having been asked by this Process.
func TestAnswerWithoutAsking(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	p := b.start(t, r)
	waitForPhase(t, p, "Asking now")
	waitForQuestion(t, p)
	other, err := exec.Attach(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	if err := other.Answer(""); err != nil {
		t.Fatal(err)
	}
	if claim, ok := exec.Claimed(r.Dir); !ok || !sameJSON(t, string(claim), question) {
		t.Errorf("claim %s", claim)
	}
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
}

func TestQuestionBehindGarbage(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	noise := strings.Join([]string{
		"no JSON", `{"phase":12}`, `[1]`, `{"question":"text"}`, `{"question":[]}`, `{"question":null}`, "\xff\x00",
		`{"question":{"x":"` + strings.Repeat("x", 300<<10) + `"}}`, // longer than a question may be
		strings.Repeat("[", 200_000),
		strings.Repeat("long ", 1<<20),
		`{"phase":"` + strings.Repeat("ä", 5000) + `"}`,
		`{"phase":"two\nlines"}`,
	}, "\n") + "\n"
	writeFile(t, filepath.Join(b.workdir, "noise"), noise)
	p := b.start(t, r)
	waitForPhase(t, p, strings.Repeat("ä", 200))
	waitForPhase(t, p, "two lines")
	waitForPhase(t, p, "Asking now")
	if asked := waitForQuestion(t, p); !sameJSON(t, asked, question) {
		t.Errorf("question of %d bytes", len(asked))
	}
	if err := p.Answer(""); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
}

func TestQuestionThatIsTooLarge(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, `{"name":"`+strings.Repeat("x", 260<<10)+`"}`)
	result := wait(t, b.start(t, r))
	if !result.Invalid || result.ExitCode != 1 {
		t.Errorf("%+v", result)
	}
	mustContain(t, result.Error, "too large")
}

func TestNobodyIsAsked(t *testing.T) {
	t.Parallel()
	b, r := newAsker(t, question)
	r.Ask = false
	p := b.start(t, r)
	if asked := waitForQuestion(t, p); asked != "" {
		t.Errorf("question %s", asked)
	}
	if result := wait(t, p); result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
}

// Who waits for an answer ends with the driver: nobody would see the end of what it starts.
func TestQuestionEndsWithTheDriver(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"topology.yml": external})
	b.fakePlaybooks(t, "0")
	r := b.run(t, up())
	r.Ask = true
	p := b.start(t, r)
	waitForQuestion(t, p)
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	mustBeEmpty(t, p.Pid())
	if err := p.Answer(""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.workdir, "netlab.lock")); err == nil {
		t.Error("it went on")
	}
}

// Another user of the machine can neither ask in a run's name nor read what it says.
func TestRunDirectoryIsTheUsers(t *testing.T) {
	t.Parallel()
	who := makeUser(t)
	b := setupFor(t, who, map[string]string{
		"topology.yml": threeRouters + "plugin: [ chatter ]\n", "chatter.py": asker, "question": question,
	})
	r := b.runAs(t, who, create())
	r.Ask = true
	writeFile(t, filepath.Join(b.workdir, "rundir"), r.Dir)
	p := b.start(t, r)
	waitForQuestion(t, p)
	if err := p.Answer(""); err != nil {
		t.Fatal(err)
	}
	if result := wait(t, p); result.ExitCode != 0 {
		t.Fatalf("%+v\n%s", result, readFile(t, b.output()))
	}
	for name, want := range map[string]struct {
		uid  int
		mode uint32
	}{
		"": {0, 0o711}, "plan.json": {0, 0o644}, "verdict.json": {0, 0o644}, "progress": {who.uid, 0o600},
		"errors": {who.uid, 0o600}, "result.json": {0, 0o644}, "../output": {who.uid, 0o600},
	} {
		var stat syscall.Stat_t
		path := filepath.Join(r.Dir, name)
		if name == "../output" {
			path = b.output()
		}
		if err := syscall.Stat(path, &stat); err != nil {
			t.Fatal(err)
		}
		if int(stat.Uid) != want.uid || stat.Mode&0o7777 != want.mode {
			t.Errorf("%s belongs to %d with mode %o", path, stat.Uid, stat.Mode)
		}
	}
}
