package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/test/labs"
	"netlab-runner/test/people"
	"netlab-runner/test/standins"
)

// side is one of two services that are asked the same: Netlab's own `netlab api`, and this project's.
type side struct {
	base string
	dir  string // what labs lie in
	ids  map[string]string
}

// reply is an answer in a form in which two of them can be compared. Status 0 is a connection that was closed without an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

const (
	sameUser     = "anna"
	samePassword = "geheim"
)

// fill replaces {dir}, and {name} of a job.
func (s *side) fill(text string) string {
	text = strings.ReplaceAll(text, "{dir}", s.dir)
	for name, id := range s.ids {
		text = strings.ReplaceAll(text, "{"+name+"}", id)
	}
	return text
}

// ask sends a request over a connection of its own, with path and body filled.
func (s *side) ask(t *testing.T, method, path, body string, header ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.base+s.fill(path), strings.NewReader(s.fill(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(sameUser, samePassword)
	for i := 0; i < len(header); i += 2 {
		if request.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			request.Header.Del(header[i])
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return reply{}
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{status: response.StatusCode, header: response.Header, body: string(content)}
}

var (
	times  = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)
	stamps = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?`)
)

// value is the answer as JSON, with what differs from run to run replaced.
func (s *side) value(t *testing.T, r reply) any {
	t.Helper()
	text := strings.ReplaceAll(r.body, s.dir, "<dir>")
	for _, id := range s.ids {
		text = strings.ReplaceAll(text, id, "<id>")
	}
	text = stamps.ReplaceAllString(times.ReplaceAllString(text, `"<time>"`), "<stamp>")
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return value
}

// job runs a job to its end and keeps its id under the name.
func (s *side) job(t *testing.T, name, body string) (accepted, ended reply) {
	t.Helper()
	accepted = s.ask(t, "POST", "/jobs", body)
	var job struct {
		ID, State  string
		FinishedAt *string
	}
	if err := json.Unmarshal([]byte(accepted.body), &job); err != nil || job.ID == "" {
		t.Fatalf("%s: %d %s", name, accepted.status, accepted.body)
	}
	s.ids[name] = job.ID
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		ended = s.ask(t, "GET", "/jobs/"+job.ID, "")
		if err := json.Unmarshal([]byte(ended.body), &job); err != nil {
			t.Fatal(err)
		}
		if job.FinishedAt != nil {
			return accepted, ended
		}
	}
	t.Fatalf("%s did not end: %s", name, ended.body)
	return accepted, ended
}

// covers says what of want is missing in got or differs there; "" for nothing. got may have more members.
func covers(got, want any, path string) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", path, got)
		}
		for key, value := range want {
			if _, ok := g[key]; !ok {
				return fmt.Sprintf("%s.%s is missing", path, key)
			}
			if text := covers(g[key], value, path+"."+key); text != "" {
				return text
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", path, got, want)
		}
		for i := range want {
			if text := covers(g[i], want[i], fmt.Sprintf("%s[%d]", path, i)); text != "" {
				return text
			}
		}
		return ""
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

// netlab is a call of Netlab as its user would make it. It gets an answer to whatever it asks at its terminal.
func (f *fleet) netlab(dir string, args ...string) *exec.Cmd {
	f.t.Helper()
	python, home := standins.Python(f.t), f.path("upstream")
	if err := os.MkdirAll(home, 0o755); err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(f.t.Context(), filepath.Join(filepath.Dir(python), "netlab"), args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "USER=" + people.Caller(f.t), "PWD=" + dir, "LANG=C.UTF-8", "CLAB_VERSION_CHECK=disable",
		"NETLAB_API_DATA_DIR=" + home + "/data", "PYTHONUNBUFFERED=1",
		"PATH=" + f.standins.Path() + ":" + filepath.Dir(python) + ":/usr/bin:/bin",
	}
	cmd.Stdin = strings.NewReader(strings.Repeat("y\n", 100))
	return cmd
}

func (f *fleet) upstream(action, dir string) {
	f.t.Helper()
	if output, err := f.netlab(dir, action).CombinedOutput(); err != nil {
		f.t.Fatalf("netlab %s: %v\n%s", action, err, output)
	}
}

// startUpstream starts `netlab api`. Its templates are those of the folder that it runs in.
func (f *fleet) startUpstream(templates string) *side {
	f.t.Helper()
	port := freePort(f.t)
	cmd := f.netlab(templates, "api", "--bind", "127.0.0.1", "--port", port, "--auth-user", sameUser, "--auth-password", samePassword)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if f.t.Failed() {
			f.t.Logf("netlab api wrote:\n%s", output.String())
		}
	})
	s := &side{base: "http://127.0.0.1:" + port, dir: f.path("labs", "theirs"), ids: map[string]string{}}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollPause) {
		response, err := http.Get(s.base + "/healthz")
		if err == nil {
			_ = response.Body.Close()
			return s
		}
	}
	f.t.Fatal("netlab api does not answer")
	return nil
}

// same is a request to which both answer with the same status and the same JSON; ours may have more members.
type same struct{ method, path, body string }

// different is a request to which they answer differently on purpose. A status 0 is a closed connection.
type different struct {
	method, path, body string
	header             []string
	theirs, ours       int
	theirText, ourText string
	why                string
}

// Clients of `netlab api` get from this service what they get from that one, but where it is wrong. Both run here and are asked
// the same.
func TestClientsOfNetlabAPI(t *testing.T) {
	t.Parallel()
	templates := layOutUpstreamTemplates(t)
	f := single(t, "NETLAB_WORKER_TEMPLATES="+templates, "NETLAB_API_USER="+sameUser, "NETLAB_API_PASSWORD="+samePassword, "NETLAB_API_LOG_DEFAULT=json")
	ours := &side{base: f.any().base, dir: f.path("labs", "ours"), ids: map[string]string{}}
	theirs := f.startUpstream(templates)
	both := func(ask func(s *side)) {
		ask(theirs)
		ask(ours)
	}
	both(func(s *side) {
		labs.Copy(t, "external", filepath.Join(s.dir, "ext"))
		labs.Copy(t, "broken", filepath.Join(s.dir, "broken"))
	})
	compare := func(requests ...same) {
		t.Helper()
		for _, r := range requests {
			want, got := theirs.ask(t, r.method, r.path, r.body), ours.ask(t, r.method, r.path, r.body)
			wanted, gotten := theirs.value(t, want), ours.value(t, got)
			if text := covers(gotten, wanted, "body"); got.status != want.status || text != "" {
				t.Errorf("%s %s %s: %s\ntheirs %d %s\nours   %d %s", r.method, r.path, r.body, text, want.status, want.body, got.status, got.body)
			}
			if ct := got.header.Get("Content-Type"); ct != want.header.Get("Content-Type") {
				t.Errorf("%s %s: Content-Type %q, theirs %q", r.method, r.path, ct, want.header.Get("Content-Type"))
			}
		}
	}

	// Before there is any job or lab.
	compare(
		same{"GET", "/healthz", ""},
		same{"GET", "/jobs", ""},
		same{"GET", "/jobs/", ""},
		same{"GET", "/jobs/none", ""},
		same{"GET", "/jobs/none/log", ""},
		same{"GET", "/", ""},
		same{"GET", "/nothing", ""},
		same{"GET", "/healthz/more", ""},
		same{"GET", "/jobs/none/log/more", ""},
		same{"POST", "/nothing", "{}"},
		same{"POST", "/jobs/none/stop", "{}"},
		same{"GET", "/templates?dir=sub", ""},
		same{"GET", "/templates?dir=sub%2Fempty", ""},
		same{"GET", "/templates?dir=./sub/", ""},
		same{"GET", "/templates?dir=none", ""},
		same{"GET", "/status", ""},
		same{"GET", "/status?output=text", ""},
		same{"GET", "/status?output=json", ""},
	)
	differ(t, theirs, ours, beforeAll())

	// A job's life.
	create := func(s *side) (accepted, ended any) {
		a, e := s.job(t, "create", fmt.Sprintf(`{"action":"create","workdir":%q,"topologyPath":"topology.yml","instance":null}`, s.dir+"/ext"))
		if a.status != http.StatusAccepted {
			t.Errorf("create: %d %s", a.status, a.body)
		}
		return s.value(t, a), s.value(t, e)
	}
	wantAccepted, wantEnded := create(theirs)
	gotAccepted, gotEnded := create(ours)
	members(t, gotAccepted, wantAccepted)
	drop(wantEnded, "logPath")
	if text := covers(gotEnded, wantEnded, "create"); text != "" {
		t.Errorf("%s\ntheirs %v\nours   %v", text, wantEnded, gotEnded)
	}
	if want, got := theirs.log(t, "create"), ours.log(t, "create"); withoutOwnLines(got) != want {
		t.Errorf("the log of create:\n%s\ntheirs:\n%s", got, want)
	}

	// A lab. Theirs is started by hand: to create and to start one in one process is too much for it.
	f.upstream("up", theirs.dir+"/ext")
	ours.job(t, "up", fmt.Sprintf(`{"action":"up","workdir":%q}`, ours.dir+"/ext"))
	compare(
		same{"GET", "/status", ""},
		same{"GET", "/status/external_ext", ""},
	)
	differ(t, theirs, ours, whileALabRuns())
	f.upstream("down", theirs.dir+"/ext")
	ours.job(t, "down", fmt.Sprintf(`{"action":"down","workdir":%q}`, ours.dir+"/ext"))
	compare(same{"GET", "/status", ""})
	actions := func(s *side) (list []string) {
		var all struct{ Jobs []struct{ Action string } }
		if err := json.Unmarshal([]byte(s.ask(t, "GET", "/jobs", "").body), &all); err != nil {
			t.Fatal(err)
		}
		for _, j := range all.Jobs {
			list = append(list, j.Action)
		}
		return list
	}
	if got := strings.Join(actions(ours), " "); got != "create up down" {
		t.Errorf("GET /jobs lists %s, want the oldest first", got)
	}

	// A fatal error of Netlab leaves theirs running for ever.
	broken := `{"action":"create","workdir":%q,"topologyPath":"topology.yml"}`
	_, want := theirs.job(t, "broken", fmt.Sprintf(broken, theirs.dir+"/broken"))
	_, got := ours.job(t, "broken", fmt.Sprintf(broken, ours.dir+"/broken"))
	if !strings.Contains(want.body, `"state": "running"`) || !strings.Contains(got.body, `"state":"failed"`) || !strings.Contains(got.body, "r8") {
		t.Errorf("after a fatal error\ntheirs %s\nours   %s", want.body, got.body)
	}
	pythonClients(t, theirs, ours)
}

func layOutUpstreamTemplates(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"top.yml", "sub/b.yml", "sub/a.yaml", "sub/c.txt", "sub/deep/d.yml", "sub/empty/none.txt"} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("nodes: [ r1 ]\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// differ asks both what they answer differently.
func differ(t *testing.T, theirs, ours *side, requests []different) {
	t.Helper()
	for _, r := range requests {
		for who, want := range map[*side]struct {
			status int
			text   string
		}{theirs: {r.theirs, r.theirText}, ours: {r.ours, r.ourText}} {
			got := who.ask(t, r.method, r.path, r.body, r.header...)
			if got.status != want.status || !strings.Contains(got.body, who.fill(want.text)) {
				t.Errorf("%s %s %s at %s: %d %s, want %d %s (%s)", r.method, r.path, r.body, who.base, got.status, got.body, want.status, want.text, r.why)
			}
		}
	}
}

func beforeAll() []different {
	return []different{
		{"GET", "/healthz", "", []string{"Authorization", ""}, 401, 200, `"unauthorized"`, `{"status":"ok"}`, "whoever watches a service needs no credentials"},
		{"GET", "/jobs", "", []string{"Authorization", ""}, 401, 401, `{"error": "unauthorized"}`, `{"error":"unauthorized"}`, "the same but for the space"},
		{"GET", "/jobs", "", []string{"Authorization", "Basic asO2cmc6cMOkc3M="}, 0, 401, "", "unauthorized", "credentials that are not ASCII are no reason to hang up"},
		{"POST", "/jobs", "[1]", nil, 0, 400, "", "body: must be a JSON object", "an array is no reason to hang up"},
		{"POST", "/jobs", "{", nil, 400, 400, `{"error": "invalid JSON body"}`, `{"error":"body: is not JSON`, "the error says where"},
		{"POST", "/jobs/none/cancel", "{}", nil, 404, 404, "not found", "Job none not found", "the error says what"},
		{"GET", "/jobs/none/nothing", "", nil, 404, 404, "Job none not found", "not found", "no such route"},
		{"GET", "/status/7", "", nil, 404, 404, "No netlab-managed labs", "Unknown lab instance 7", "the same answer whether there are other labs or not"},
		{"GET", "/templates", "", nil, 200, 200, `{"templates": []}`, `"top.yml"`, "there is a template root to list"},
		{"GET", "/templates?dir=/", "", nil, 200, 400, "templates", "dir: ", "no client lists the host"},
		{"GET", "/templates?dir=top.yml", "", nil, 200, 404, "[]", "dir: ", "a file is no directory"},
		{"GET", "/healthz?output=text", "", nil, 200, 200, `{"status": "ok"}`, `{"status":"ok"}`, "the same but for the space"},
		{"PUT", "/jobs", "", nil, 501, 405, "<", `{"error":`, "errors are JSON"},
		{"HEAD", "/jobs", "", nil, 501, 200, "", "", "HEAD works"},
	}
}

func whileALabRuns() []different {
	return []different{
		{"GET", "/status/7", "", nil, 200, 404, `"error": "Unknown lab instance 7"`, `{"error":"Unknown lab instance 7"}`, "what is not found is 404"},
		{"GET", "/status/7?output=text", "", nil, 404, 404, "Unknown lab instance 7", `{"error":"Unknown lab instance 7"}`, "the same in either form"},
		{"POST", "/jobs/{create}/cancel", "{}", nil, 409, 409, "cannot cancel running or finished job", "ended as success", "the error says how it ended"},
		{"GET", "/status?output=text", "", nil, 200, 200, `\u2502 external_ext \u2502`, "│ external_ext │ {dir}/ext │ started │", "no cell is wrapped or cut"},
		{"GET", "/status/external_ext?output=text", "", nil, 200, 200, "external_ext in {dir}/ext", "external_ext in {dir}/ext", "the order of the columns is for clients"},
		{"GET", "/jobs/{create}/nothing", "", nil, 501, 404, "Invalid parameter nothing", "not found", "only 503 is an error of the server"},
	}
}

// members checks that got has every member of want, in the same type or null.
func members(t *testing.T, got, want any) {
	t.Helper()
	w, wantOK := want.(map[string]any)
	g, gotOK := got.(map[string]any)
	if !wantOK || !gotOK {
		t.Fatalf("%v, %v", got, want)
	}
	for key, value := range w {
		other, ok := g[key]
		if !ok || value != nil && other != nil && reflect.TypeOf(value) != reflect.TypeOf(other) {
			t.Errorf("%s is %#v, theirs %#v", key, other, value)
		}
	}
}

func drop(value any, keys ...string) {
	object, _ := value.(map[string]any)
	for _, key := range keys {
		delete(object, key)
	}
}

// log is the log of a job, as the member of a JSON object.
func (s *side) log(t *testing.T, name string) string {
	t.Helper()
	r := s.ask(t, "GET", "/jobs/{"+name+"}/log", "")
	object, _ := s.value(t, r).(map[string]any)
	log, ok := object["log"].(string)
	if r.status != http.StatusOK || !ok || log == "" {
		t.Errorf("the log of %s: %d %s", name, r.status, r.body)
	}
	return log
}

// withoutOwnLines leaves out what the worker itself wrote.
func withoutOwnLines(log string) string {
	var rest strings.Builder
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "netlab-worker: ") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// pythonClients has a program of Python's standard library, and one of requests, use both services.
func pythonClients(t *testing.T, theirs, ours *side) {
	t.Helper()
	seen := map[*side]string{}
	for _, s := range []*side{theirs, ours} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		labs.Copy(t, "external", filepath.Join(s.dir, "py"))
		cmd := exec.CommandContext(ctx, standins.Python(t), "../clients/python_clients.py", s.base, sameUser, samePassword, filepath.Join(s.dir, "py"))
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("python_clients.py at %s: %v\n%s", s.base, err, output)
		}
		seen[s] = strings.ReplaceAll(string(output), s.dir, "<dir>")
	}
	if seen[ours] != seen[theirs] || !strings.Contains(seen[ours], "requests") {
		t.Errorf("Python's clients see\n%s\nof theirs\n%s", seen[ours], seen[theirs])
	}
}
