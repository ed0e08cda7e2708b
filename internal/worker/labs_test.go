package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// question is a driver's, of a lab with this one container.
func question(t *testing.T, instance, container string) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(inventory.Identity{Instance: instance, Name: container, Dir: "/somewhere/else", Provider: "clab", Containers: []string{container}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	elsewhere := filepath.Join(b.root, "elsewhere")
	b.docker(fmt.Sprintf(`{"Names":"clab-x-r1","State":"running","Labels":"containerlab=x,clab-topo-file=%s/clab.yml"}`, elsewhere), "")
	b.run()
	for _, test := range []struct {
		id, refused string
		question    json.RawMessage
	}{
		{"free", "", question(t, "default", "clab-y-r1")},
		{"taken", elsewhere, question(t, "default", "clab-x-r1")},
		{"garbage", "cannot be read", json.RawMessage(`["no lab"]`)},
		{"impossible", "instance", json.RawMessage(`{"instance":"a\u0000b"}`)},
	} {
		birth := b.birth(test.id, jobs.Up)
		// The same status file would clash by itself.
		birth.Request.StateRoot = filepath.Join(b.root, "state-of-"+test.id)
		b.send(birth)
		run := b.next()
		run.asks <- test.question
		got := receive(t, run.answers)
		if (got == "") != (test.refused == "") {
			t.Errorf("%s: the answer is %q", test.id, got)
		}
		wantWords(t, got, test.refused)
		must(t, os.WriteFile(filepath.Join(birth.Workdir, inventory.SnapshotFile), nil, 0o644))
		run.result <- exec.Result{ExitCode: 1, Error: got, Invalid: got != ""}
		end := b.await(test.id, ended)
		if test.refused != "" {
			wantEnd(t, end, jobs.Failed, jobs.ReasonInvalid, test.refused)
		}
		if job := b.worker.known.job(birth.Workdir, inventory.MadeAt(birth.Workdir)); (job == test.id) != (test.refused == "") {
			t.Errorf("%s: the job of its lab is %q", test.id, job)
		}
		if job := b.worker.known.job(birth.Workdir, time.Now().Add(time.Hour)); job != "" {
			t.Errorf("%s: the job of a lab that was made later is %q", test.id, job)
		}
	}
}

// Two jobs that clash ask at the same moment: one of them starts its lab.
func TestTwoThatClash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	var runs []*played
	for _, id := range []string{"j1", "j2"} {
		b.submit(id, nil)
	}
	for range 2 {
		runs = append(runs, b.next())
	}
	for _, run := range runs {
		run.asks <- question(t, "default", "clab-x-r1")
	}
	winner, loser := runs[0], runs[1]
	first, second := receive(t, winner.answers), receive(t, loser.answers)
	if first != "" {
		winner, loser, first, second = loser, winner, second, first
	}
	if first != "" || second == "" {
		t.Fatalf("the answers are %q and %q", first, second)
	}
	wantWords(t, second, "under way", winner.run.Workdir)
	loser.result <- exec.Result{ExitCode: 1, Error: second, Invalid: true}
	winner.result <- exec.Result{}
	b.await("j1", ended)
	b.await("j2", ended)
	b.wantEmptyJournal()
	// What was claimed is free again.
	b.submit("j3", nil)
	run := b.next()
	run.asks <- question(t, "default", "clab-x-r1")
	if refused := receive(t, run.answers); refused != "" {
		t.Errorf("after the end of both: %q", refused)
	}
	run.result <- exec.Result{}
	b.await("j3", ended)
}

// What a run may have started is taken also when another worker comes back to it, in its own directory, whatever its driver said.
func TestAClaimAfterARestart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files    map[string]string
		instance string // that was picked
		freeID   string // that was kept ready
		asked    json.RawMessage
		free     bool
	}{
		"claimed": {files: map[string]string{"verdict.json": `{"question":` + string(question(t, "7", "clab-x-r1")) + `}`}, asked: question(t, "default", "clab-x-r1")},
		"refused": {files: map[string]string{"verdict.json": `{"refused":"no","question":` + string(question(t, "7", "clab-x-r1")) + `}`}, asked: question(t, "default", "clab-x-r1"), free: true},
		"garbage": {files: map[string]string{"verdict.json": `{"question":[]}`}, asked: question(t, "default", "clab-x-r1"), free: true},
		"picked":  {instance: "7", asked: question(t, "7", "clab-y-r1")},
		"ready":   {freeID: "7", asked: question(t, "7", "clab-y-r1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			birth := b.birth("j1", jobs.Up)
			must(t, os.MkdirAll(birth.Workdir, 0o755))
			s := &scene{Who: *b.worker.runAs, Dir: birth.Workdir, StatusFile: filepath.Join(b.root, "status.yaml"), Instance: test.instance, FreeID: test.freeID}
			run := b.leave(birth, s, obedient, test.files)
			run.awaitReady(t)
			b.run()
			b.submit("j2", nil)
			other := b.next()
			other.asks <- test.asked
			refused := receive(t, other.answers)
			if (refused == "") != test.free {
				t.Errorf("the answer is %q", refused)
			}
			if !test.free {
				wantWords(t, refused, birth.Workdir)
			}
			other.result <- exec.Result{}
			b.await("j2", ended)
			b.cancel("j1")
			got := b.await("j1", ended)
			if name == "claimed" && got.Instance != "7" {
				t.Errorf("the instance is %q", got.Instance)
			}
		})
	}
}

// Of four labs the last has the plugin in its topology: there the id is for the driver to give, once it knows that it is wanted.
func TestFreeIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	var runs []*played
	for _, id := range []string{"j1", "j2", "j3"} {
		birth := b.birth(id, jobs.Up)
		birth.Request.Plugin = []string{"multilab"}
		b.send(birth)
	}
	fourth := b.birth("j4", jobs.Up)
	fourth.Topology = "plugin: [ multilab ]\nnodes: [ r1 ]"
	b.send(fourth)
	ids := map[string]bool{}
	free := ""
	for range 4 {
		run := b.next()
		runs = append(runs, run)
		args := run.run.Commands[0].Args
		if len(args) == 0 {
			free = run.run.Commands[0].FreeID
			continue
		}
		i := slices.Index(args, "-s")
		if i < 0 || i+1 == len(args) || !strings.HasPrefix(args[i+1], "defaults.multilab.id=") {
			t.Fatalf("the arguments are %q", args)
		}
		ids[args[i+1]] = true
	}
	if len(ids) != 3 || free == "" || ids["defaults.multilab.id="+free] {
		t.Errorf("the ids are %v and %q", ids, free)
	}
	for _, run := range runs {
		run.result <- exec.Result{}
	}
	for _, id := range []string{"j1", "j2", "j3"} {
		if got := b.await(id, ended); !ids["defaults.multilab.id="+got.Instance] {
			t.Errorf("job %s says that its instance is %q", id, got.Instance)
		}
	}
	if got := b.await("j4", ended); got.Instance != "" {
		t.Errorf("the instance of a lab that nobody has told yet is %q", got.Instance)
	}
	b.wantEmptyJournal()
}

// A Docker that says nothing does not keep a job from its end, and nothing that could clash is started.
func TestDockerThatFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	must(t, os.WriteFile(filepath.Join(b.tools, "docker"), []byte("#!/bin/sh\necho 'the daemon is away' >&2\nexit 1\n"), 0o755))
	b.run()
	b.submit("j1", nil)
	run := b.next()
	b.cancel("j1")
	receive(t, run.stopped)
	wantEnd(t, b.await("j1", ended), jobs.Canceled, jobs.ReasonCanceled, "containers are not known", "the daemon is away")
}

func TestProblemsFitIntoAMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	run := b.next()
	var problems []jobs.Problem
	for range 200 {
		problems = append(problems, jobs.Problem{File: strings.Repeat("f", 4000), Text: strings.Repeat("<", 4000)})
	}
	run.result <- exec.Result{ExitCode: 1, Error: strings.Repeat("\x01<", 1<<20), Errors: problems}
	got := b.await("j1", ended)
	if n := len(got.Errors); n == 0 || n > 100 || !strings.Contains(got.Errors[n-1].Text, "more, which the log has") {
		t.Errorf("%d errors", n)
	}
	if size := inJSON(got.Errors) + inJSON(got.Error); size > 60<<10 {
		t.Errorf("the end has %d bytes", size)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", strings.Repeat("x", 5000), strings.Repeat("<", 5000), strings.Repeat("é", 5000), strings.Repeat("\u2028", 5000)} {
		got := fit(text, 1000)
		if inJSON(got) > 1000 || inJSON(text) <= 1000 && got != text {
			t.Errorf("of %d bytes %d are left, %d in JSON", len(text), len(got), inJSON(got))
		}
		if head, cut := strings.CutSuffix(got, "…"); cut && (!strings.HasPrefix(text, strings.TrimRight(head, "…")) || len(got) < 100) {
			t.Errorf("it is cut to %q", got)
		}
	}
}

func TestKnownLabs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := filepath.Join(b.config.DataDir, "labs")
	open := func() *knownLabs {
		k, err := openKnownLabs(dir, b.config.Log)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := open()
	one := knownLab{Dir: "/r/one", Job: "j1", UID: 1001}
	two := knownLab{Dir: "/r/two", Job: "j2", UID: 1002, StatusFile: "/r/state/status.yaml"}
	must(t, k.remember(one), k.remember(two), k.remember(two))
	two.Job = "j3"
	must(t, k.remember(two))
	must(t, os.WriteFile(filepath.Join(dir, "garbage.json"), []byte("{"), 0o600), os.WriteFile(filepath.Join(dir, "empty.json"), []byte("{}"), 0o600))
	k = open()
	made := time.Unix(1_800_000_000, 123).UTC()
	later := made.Add(time.Second)
	if k.job("/r/one", made) != "j1" || k.job("/r/two", later) != "j3" || k.job("/r/three", made) != "" {
		t.Errorf("after a restart: %v", k.labs)
	}
	// The job's lab is the one that it has left, and no other.
	must(t, k.settle("/r/two", "j2", later), k.settle("/r/two", "j3", made), k.settle("/r/three", "j3", made))
	if k = open(); k.job("/r/two", made) != "j3" || k.job("/r/two", later) != "" || k.job("/r/two", time.Time{}) != "" || len(k.labs) != 2 {
		t.Errorf("once its job has ended: %v", k.labs)
	}
	must(t, k.settle("/r/two", "j3", time.Time{}))
	if k.job("/r/two", later) != "" || len(k.statusFiles()) != 1 {
		t.Errorf("a job that has left none: %v", k.labs)
	}
	if files := k.statusFiles(); !slices.Equal(files, []string{two.StatusFile}) || len(k.users()) != 2 {
		t.Errorf("status files %v, users %v", files, k.users())
	}
	must(t, k.forget("/r/two"), k.forget("/r/two"), k.forget("/r/never"))
	if k = open(); k.job("/r/two", made) != "" || k.job("/r/one", made) != "j1" {
		t.Errorf("what was forgotten: %v", k.labs)
	}
}

// A lab that was taken down is forgotten, one that is still there is not.
func TestALabThatIsTakenDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	for _, id := range []string{"gone", "there"} {
		dir := filepath.Join(b.root, id)
		must(t, os.MkdirAll(dir, 0o755), b.worker.known.remember(knownLab{Dir: dir, Job: "j0"}))
	}
	b.docker(fmt.Sprintf(`{"Names":"clab-x-r1","State":"running","Labels":"containerlab=x,clab-topo-file=%s/there/clab.yml"}`, b.root), "")
	for _, id := range []string{"gone", "there"} {
		b.send(b.birth(id, jobs.Destroy))
		b.next().result <- exec.Result{}
		b.await(id, func(m *bus.JobMessage) bool { return m.State == jobs.Success })
		if job := b.worker.known.job(filepath.Join(b.root, id), time.Time{}); (job == "") != (id == "gone") {
			t.Errorf("%s: its job is %q", id, job)
		}
	}
}

// A lab that was made by hand in the place of a job's is not the job's.
func TestAListOfLabs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := filepath.Join(b.root, "lab")
	snapshot := filepath.Join(dir, inventory.SnapshotFile)
	must(t, os.Mkdir(dir, 0o755), os.WriteFile(snapshot, nil, 0o644), b.worker.known.remember(knownLab{Dir: dir, Job: "j1"}))
	b.docker(fmt.Sprintf(`{"Names":"clab-x-r1","State":"running","Labels":"containerlab=x,clab-topo-file=%s/clab.yml"}`, dir), "")
	want := func(job string) {
		t.Helper()
		if got, err := b.worker.labList(t.Context(), nil); err != nil || !strings.Contains(string(got), `"job":`+job+`}`) {
			t.Errorf("%s, %v, want the job %s", got, err, job)
		}
	}
	want(`"j1"`)
	must(t, b.worker.known.settle(dir, "j1", inventory.MadeAt(dir)))
	want(`"j1"`)
	must(t, os.Chtimes(snapshot, time.Time{}, time.Unix(1_800_000_000, 0)))
	want("null")
}

// It is taken before any job decides, also while the bus is away.
func TestAClaimBeforeAllOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	birth := b.birth("j1", jobs.Up)
	must(t, os.MkdirAll(birth.Workdir, 0o755))
	b.leave(birth, &scene{Who: *b.worker.runAs, Dir: birth.Workdir, Instance: "7"}, obedient, nil).awaitReady(t)
	b.server.Stop()
	b.run()
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if claims := b.worker.labs.others("j2"); len(claims) == 1 && claims[0].Instance == "7" {
			return
		} else if time.Now().After(end) {
			t.Fatalf("the claims are %v", claims)
		}
	}
}

// A lab is forgotten whose directory has been gone for long, and one that is there stays, whatever its age.
func TestLabsOfDirectoriesThatAreGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gone, there := filepath.Join(b.root, "gone"), filepath.Join(b.root, "there")
	must(t, os.Mkdir(there, 0o755))
	for _, dir := range []string{gone, there} {
		must(t, b.worker.known.remember(knownLab{Dir: dir, Job: "j1"}))
	}
	now := time.Now()
	b.worker.forgetGoneLabs(t.Context(), now.Add(labPatience-time.Hour))
	if got := b.worker.known.job(gone, now); got != "j1" {
		t.Errorf("too early: %q", got)
	}
	b.worker.forgetGoneLabs(t.Context(), now.Add(labPatience+time.Hour))
	k, err := openKnownLabs(b.worker.known.dir, b.config.Log)
	must(t, err)
	if len(k.labs) != 1 || k.labs[there].Job != "j1" {
		t.Errorf("left are %+v", k.labs)
	}
}
