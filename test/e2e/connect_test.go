package e2e_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// tolerance is the longest that a client of a synchronous route waits.
const tolerance = 15 * time.Second

// asked is the answer to POST /connect or /graph.
type asked struct {
	Log, Error            string
	ExitCode              *int
	SVGBase64, OutputPath string
}

// ask posts a question, which has to be answered in time.
func (a *api) ask(t *testing.T, route string, body any, want int) asked {
	t.Helper()
	var status int
	var content []byte
	for end := time.Now().Add(2 * patience); ; {
		begin := time.Now()
		status, content = a.do(t, http.MethodPost, route, body)
		if took := time.Since(begin); took > tolerance {
			t.Errorf("%s took %s", route, took)
		}
		// On a machine that is busy with other tests it may be too slow, which a client is told.
		if status != http.StatusServiceUnavailable || want == status || time.Now().After(end) {
			break
		}
	}
	var answer asked
	if err := json.Unmarshal(content, &answer); err != nil || status != want {
		t.Fatalf("%s %v: %d %.500s (%v), want %d", route, body, status, content, err, want)
	}
	if status != http.StatusOK && answer.Error == "" {
		t.Errorf("%s %v: no error in %s", route, body, content)
	}
	return answer
}

// listing is every file below a directory with its size and time, and the status file's content.
func (f *fleet) listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && !strings.HasSuffix(path, ".svg") && path != dir {
			b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(f.path("home", ".netlab", "status.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return b.String() + string(status)
}

func TestConnect(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	dir := f.lab("shown", "frr3")
	a.ask(t, "/connect", object{"node": "r1", "show": "version", "workdir": dir}, http.StatusConflict)
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
	before := f.listing(t, dir)

	out := "O>* 10.0.0.2/32\n"
	f.standins.SetKnob("docker exec", standins.Knob{Match: "show ip route", Stdout: &out}, standins.Knob{Match: "show bad", Fail: 1, Stderr: "% Unknown command\n"})
	for _, body := range []object{
		{"node": "r1", "show": []string{"ip", "route"}, "workdir": dir, "instance": "default", "action": "whatever", "environment": object{"A": "b"}},
		{"node": "r2", "show": []string{"ip route"}, "instance": "default"},
		{"node": "r3", "show": "show ip route", "workdir": dir, "host": "alpha"},
	} {
		if answer := a.ask(t, "/connect", body, http.StatusOK); answer.Log != out || answer.Error != "" || answer.ExitCode == nil || *answer.ExitCode != 0 {
			t.Errorf("%v: %+v", body, answer)
		}
	}
	if answer := a.ask(t, "/connect", object{"node": "r1", "show": "bad", "workdir": dir}, http.StatusOK); answer.Log != "% Unknown command\n" || *answer.ExitCode != 1 || answer.Error == "" {
		t.Errorf("%+v", answer)
	}

	calls := len(f.standins.Calls("docker exec"))
	for want, bodies := range map[int][]object{
		http.StatusNotFound: {
			{"node": "r9", "show": "version", "workdir": dir},
			{"node": "r1", "show": "version", "instance": "no-such-lab"},
			{"node": "r1", "show": "version", "workdir": f.root + "/nowhere"},
		},
		http.StatusBadRequest: {
			{"node": "--help", "show": "version", "workdir": dir},
			{"node": "r1;id", "show": "version", "workdir": dir},
			{"node": "r1", "show": "-oProxyCommand=id", "workdir": dir},
			{"node": "r1", "show": "version; id", "workdir": dir},
			{"node": "r1", "show": []string{"$(id)"}, "workdir": dir},
			{"node": "r1", "show": []string{`version" -c "configure`}, "workdir": dir},
			{"node": "r1", "show": []string{"version\nreload"}, "workdir": dir, "host": "nowhere"},
			{"node": "r1", "show": []string{}, "workdir": dir},
			{"node": "r1", "show": "version"},
			{"node": "r1", "show": "version", "workdir": "/etc"},
			{"node": "r1", "show": "version", "workdir": dir + "/../x"},
		},
	} {
		for _, body := range bodies {
			a.ask(t, "/connect", body, want)
		}
	}
	if answer := a.ask(t, "/connect", object{"node": "r9", "show": "version", "workdir": dir}, http.StatusNotFound); !strings.Contains(answer.Error, "r1, r2, r3") {
		t.Errorf("%+v", answer)
	}
	if now := len(f.standins.Calls("docker exec")); now != calls {
		t.Errorf("%d commands ran for what was refused", now-calls)
	}

	// What hangs is ended, and the others are told to come again. Nobody waits for longer than his patience.
	f.standins.SetKnob("docker exec", standins.Knob{Match: "show", Gate: "hang", Ignore: []string{"INT", "TERM", "HUP"}})
	answers := make(chan asked)
	const many = 6
	for range many {
		go func() {
			answers <- a.ask(t, "/connect", object{"node": "r1", "show": "version", "workdir": dir}, http.StatusServiceUnavailable)
		}()
	}
	hung, busy, slow := 0, 0, 0
	for range many {
		switch answer := <-answers; {
		case strings.Contains(answer.Error, "node r1"):
			hung++
		case strings.Contains(answer.Error, "busy"):
			busy++
		case strings.Contains(answer.Error, "in time"): // Python itself had not come so far
			slow++
		default:
			t.Errorf("%+v", answer)
		}
	}
	if hung == 0 || busy == 0 || hung+busy+slow != many {
		t.Errorf("%d hung, %d were too many", hung, busy)
	}
	for _, call := range f.standins.Calls("docker exec")[calls:] {
		if exists(t, "/proc", itoa(call.Pid), "cwd") {
			t.Errorf("process %d is left", call.Pid)
		}
	}
	if after := f.listing(t, dir); after != before {
		t.Errorf("the lab was changed:\n%s\nbefore:\n%s", after, before)
	}
	f.standins.SetKnob("docker exec")
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	a.ask(t, "/connect", object{"node": "r1", "show": "version", "workdir": dir}, http.StatusConflict)
}
