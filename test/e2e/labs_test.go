package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/labs"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

// shownLab is a lab of GET /labs.
type shownLab struct {
	Host, Instance, Dir, User, Status string
	Job                               *string
}

type labList struct {
	Labs   []shownLab
	Errors []struct{ Host, Error string }
}

// labList is the answer of GET /labs.
func (a *api) labList(t *testing.T) (list labList) {
	t.Helper()
	a.getInTime(t, "/labs", &list)
	return list
}

// getInTime is get where each host has to answer: one that is busy with other tests may be too slow for the API, which then says so in
// the answer. It is asked again.
func (a *api) getInTime(t *testing.T, path string, value any) {
	t.Helper()
	var answer json.RawMessage
	for end := time.Now().Add(patience); ; {
		a.get(t, path, &answer)
		if !bytes.Contains(answer, []byte("in time")) || time.Now().After(end) {
			break
		}
	}
	if err := json.Unmarshal(answer, value); err != nil {
		t.Fatalf("GET %s: %v in %s", path, err, answer)
	}
}

func (a *api) labs(t *testing.T) map[string]shownLab {
	t.Helper()
	list := a.labList(t)
	if len(list.Errors) > 0 {
		t.Errorf("GET /labs: %v", list.Errors)
	}
	byDir := map[string]shownLab{}
	for _, l := range list.Labs {
		if strings.HasPrefix(l.Dir, os.TempDir()) { // else it is one of this machine's, and of no test
			byDir[l.Dir] = l
		}
	}
	return byDir
}

// byHand runs Netlab as a person on the host would.
func (f *fleet) byHand(dir string, args ...string) {
	f.t.Helper()
	python := standins.Python(f.t)
	cmd := exec.CommandContext(f.t.Context(), filepath.Join(filepath.Dir(python), "netlab"), args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + f.path("home"), "USER=" + people.Caller(f.t), "PWD=" + dir, "LANG=C.UTF-8", "CLAB_VERSION_CHECK=disable",
		"PATH=" + f.standins.Path() + ":" + filepath.Dir(python) + ":/usr/bin:/bin",
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("netlab %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// The second of two labs that clash is refused before anything is touched, whoever started the first.
func TestLabsThatClash(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	first := f.lab("first", "linux2")
	up, _ := a.run(t, jobs.Success, object{"action": "up", "workdir": first})

	refused := func(payload object, words ...string) {
		t.Helper()
		before := len(f.standins.Calls("containerlab deploy", "containerlab destroy"))
		dir, _ := payload["workdir"].(string)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		job, log := a.run(t, jobs.Failed, payload)
		if job.Reason != jobs.ReasonInvalid || job.ExitCode != nil {
			t.Errorf("reason %q, exit code %v\n%s", job.Reason, job.ExitCode, log)
		}
		for _, word := range words {
			if !strings.Contains(text(job.Error), word) {
				t.Errorf("no %q in the error %q", word, text(job.Error))
			}
		}
		if calls := f.standins.Calls("containerlab deploy", "containerlab destroy"); len(calls) != before {
			t.Errorf("%d calls of containerlab", len(calls)-before)
		}
		after, err := os.ReadDir(dir)
		if err != nil || len(after) != len(files) {
			t.Errorf("%d files in %s, before %d (%v)", len(after), dir, len(files), err)
		}
	}
	refused(object{"action": "up", "workdir": f.lab("second", "linux2")}, first, "multilab", "destroy")
	// Of the same name, in another place, with another id.
	same := filepath.Join(f.root, "team", "first")
	labs.Copy(t, "linux2", same)
	refused(object{"action": "up", "workdir": same}, first)
	if n := len(f.standins.Containers()); n != 3 {
		t.Errorf("%d containers", n)
	}

	// One that was started by hand counts as well, and is listed without a job.
	hand := f.lab("hand", "linux2")
	f.byHand(hand, "up", "--plugin", "multilab", "-s", "defaults.multilab.id=9", "topology.yml")
	refused(object{"action": "up", "workdir": f.lab("ninth", "linux2"), "plugin": "multilab", "multilabId": 9}, hand, "9")

	list := a.labs(t)
	if l := list[first]; l.Job == nil || *l.Job != up.ID || l.Instance != "default" || l.User != people.Caller(t) || l.Status != "started" || l.Host != "alpha" {
		t.Errorf("the lab of a job is %+v", l)
	}
	if l := list[hand]; l.Job != nil || l.Instance != "9" || l.Status != "started" || len(list) != 2 {
		t.Errorf("the lab that was started by hand is %+v, of %d", l, len(list))
	}
	var all map[string]struct{ Dir string }
	a.get(t, "/status", &all)
	if all["default"].Dir != first || all["9"].Dir != hand || len(all) != 2 {
		t.Errorf("GET /status: %v", all)
	}
	var one struct {
		Nodes map[string]struct{ Provider string }
	}
	a.get(t, "/status/9", &one)
	if len(one.Nodes) != 3 || one.Nodes["r1"].Provider != "clab" {
		t.Errorf("GET /status/9: %+v", one)
	}
	for _, dir := range []string{first, hand} {
		a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	}
	if status, body := a.do(t, "GET", "/status", nil); status != http.StatusNotFound || string(body) != `{"warning":"No netlab-managed labs"}`+"\n" {
		t.Errorf("GET /status without labs: %d %s", status, body)
	}
	if list := a.labs(t); len(list) > 0 {
		t.Errorf("labs after destroy: %v", list)
	}
}

// Of two that clash and start at the same moment, one starts.
func TestLabsThatClashAtTheSameMoment(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	var ids []string
	for _, name := range []string{"one", "two"} {
		ids = append(ids, a.submit(t, object{"action": "up", "workdir": f.lab(name, "linux2")}).ID)
	}
	states := map[jobs.State]int{}
	for _, id := range ids {
		job, log := a.finish(t, id)
		states[job.State]++
		if job.State == jobs.Failed && job.Reason != jobs.ReasonInvalid {
			t.Errorf("reason %q: %s\n%s", job.Reason, text(job.Error), log)
		}
	}
	if states[jobs.Success] != 1 || states[jobs.Failed] != 1 || len(f.standins.Containers()) != 3 {
		t.Errorf("%v, %d containers", states, len(f.standins.Containers()))
	}
}

// A status job, and GET /status, wait for no other job of the lab.
func TestStatusWaitsBehindNothing(t *testing.T) {
	t.Parallel()
	f := single(t, "NETLAB_WORKER_SLOTS=1")
	a, dir := f.any(), f.lab("busy", "linux2")
	f.standins.SetKnob("containerlab deploy", standins.Knob{Gate: "deploy", Partial: 3})
	job := a.submit(t, object{"action": "up", "workdir": dir})
	f.standins.Gate("deploy").Await(patience)
	if _, log := a.run(t, jobs.Success, object{"action": "status", "workdir": dir}); !strings.Contains(log, "starting provider clab") {
		t.Errorf("status:\n%s", log)
	}
	var all map[string]struct{ Status string }
	a.get(t, "/status", &all)
	if all["default"].Status != "starting provider clab" {
		t.Errorf("GET /status: %v", all)
	}
	f.standins.Gate("deploy").Open()
	if ended, log := a.finish(t, job.ID); ended.State != jobs.Success {
		t.Errorf("%s\n%s", ended.State, log)
	}
}

// Netlab rewrites its status file while others read it. No request shows that.
func TestStatusWhileLabsComeAndGo(t *testing.T) {
	t.Parallel()
	f := single(t, "NETLAB_WORKER_SLOTS=4")
	a := f.any()
	stays := f.lab("stays", "external")
	a.run(t, jobs.Success, object{"action": "up", "workdir": stays, "plugin": "multilab", "multilabId": 100})
	stop := make(chan struct{})
	var asking, working sync.WaitGroup
	asking.Go(func() {
		for n := 0; n < 500; n++ {
			select {
			case <-stop:
				return
			default:
			}
			status, body := a.do(t, "GET", "/status", nil)
			var all map[string]json.RawMessage
			if err := json.Unmarshal(body, &all); status != http.StatusOK || err != nil || all["100"] == nil {
				t.Errorf("GET /status: %d %.300s", status, body)
			}
		}
	})
	for n := range 4 {
		dir := f.lab("lab"+string(rune('a'+n)), "external")
		working.Go(func() {
			for _, action := range []string{"up", "restart", "destroy"} {
				if job, log := a.finish(t, a.submit(t, object{"action": action, "workdir": dir, "plugin": "multilab", "multilabId": 101 + n}).ID); job.State != jobs.Success {
					t.Errorf("%s: %s %s\n%s", action, job.State, text(job.Error), log)
				}
			}
		})
	}
	working.Wait()
	close(stop)
	asking.Wait()
	if list := a.labs(t); len(list) != 1 || list[stays].Instance != "100" {
		t.Errorf("labs: %v", list)
	}
}

// Without a default host, each host is an entry, one that is away with its error.
func TestStatusOfAFleet(t *testing.T) {
	t.Parallel()
	f := split(t)
	a, dir := f.any(), f.lab("one", "external")
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir, "host": "beta"})
	f.workers[2].kill()
	var all struct {
		Hosts map[string]struct {
			Labs  map[string]struct{ Dir string }
			Error string
		}
	}
	a.getInTime(t, "/status", &all)
	id := "external_one"
	if len(all.Hosts) != 3 || all.Hosts["beta"].Labs[id].Dir != dir || all.Hosts["gamma"].Error == "" || all.Hosts["alpha"].Error != "" {
		t.Errorf("GET /status: %+v", all)
	}
	var one map[string]struct{ Dir string }
	a.get(t, "/status?host=beta", &one)
	if one[id].Dir != dir {
		t.Errorf("GET /status?host=beta: %v", one)
	}
	if status, body := a.do(t, "GET", "/status/"+id+"?host=beta", nil); status != http.StatusOK {
		t.Errorf("GET /status/%s?host=beta: %d %s", id, status, body)
	}
	if status, body := a.do(t, "GET", "/status/none?host=beta", nil); status != http.StatusNotFound || !strings.Contains(string(body), "Unknown lab instance none") {
		t.Errorf("GET /status/none: %d %s", status, body)
	}
	list := a.labList(t)
	if len(list.Labs) == 0 || len(list.Errors) != 1 || list.Errors[0].Host != "gamma" {
		t.Errorf("GET /labs: %+v", list)
	}
}
