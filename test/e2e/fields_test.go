package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gopkg.in/yaml.v3"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/labs"
	"netlab-runner/test/standins"
)

// row is a job and what it is to show of the fields that it is about.
type row struct {
	fields  string // names, separated by spaces
	payload object
	state   jobs.State // empty: success
	check   func(t *testing.T, job *jobs.Job, log string)
}

// meanings says in which actions a field has a meaning: each has a row below.
func meanings() map[string][]jobs.Action {
	starting := []jobs.Action{jobs.Create, jobs.Up, jobs.Restart, jobs.Validate}
	table := map[string][]jobs.Action{
		"plugin": starting, "multilabId": starting, "topologyPath": starting, "topologyUrl": starting, "topology": starting,
		"instance":      append(slices.Clone(starting), jobs.Status),
		"stateRoot":     {jobs.Up, jobs.Restart, jobs.Down, jobs.Destroy, jobs.Status},
		"collectOutput": {jobs.Collect}, "collectTar": {jobs.Collect}, "collectCleanup": {jobs.Collect},
		"cleanup": {jobs.Down},
	}
	for _, field := range []string{
		"action", "user", "workspace", "project", "deployment", "workspaceRoot", "workdir", "environment", "timeoutSeconds", "host", "labels",
	} {
		table[field] = jobs.Actions
	}
	return table
}

// table runs rows, and knows which fields of which actions had one.
type table struct {
	*fleet
	*covered
}

type covered struct {
	mu   sync.Mutex
	seen map[string]bool
}

// run runs the rows one after the other.
func (x *table) run(t *testing.T, rows ...row) {
	t.Helper()
	for _, r := range rows {
		if r.state == "" {
			r.state = jobs.Success
		}
		job, log := x.any().finish(t, x.any().submit(t, r.payload).ID)
		if job.State != r.state {
			t.Fatalf("%v: %s %q, want %s\n%s", r.payload, job.State, text(job.Error), r.state, log)
		}
		failed := t.Failed()
		r.check(t, &job, log)
		if t.Failed() && !failed {
			t.Logf("the row is %s of %v; its job %+v\n%s", r.fields, r.payload, job, log)
		}
		x.mu.Lock()
		for _, field := range strings.Fields(r.fields) {
			x.seen[field+" of "+string(job.Action)] = true
		}
		x.mu.Unlock()
	}
}

// Every field does something in every action in which it has a meaning, in whatever type it comes.
func TestEveryFieldInEveryAction(t *testing.T) {
	t.Parallel()
	one := newFleet(t)
	one.extra = []string{"NETLAB_WORKER_ROOTS=" + one.root + ",/home", "NETLAB_WORKER_SLOTS=4", "NETLAB_WORKER_URL_NETWORKS=127.0.0.0/8,::1/128"}
	one.startSingle()
	seen := &covered{seen: map[string]bool{}}
	x := &table{fleet: one, covered: seen}
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *table){
			"place": placeRows, "action": actionRows, "plugin": pluginRows, "multilabId": multilabRows, "instance": instanceRows,
			"topologyPath": topologyPathRows, "topology": topologyRows, "topologyUrl": topologyURLRows, "stateRoot": stateRootRows,
			"containers": containerRows, "cleanup": cleanupRows, "environment": environmentRows, "timeoutSeconds": timeoutRows, "unknown": unknownRows,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, x)
			})
		}
		t.Run("host", func(t *testing.T) {
			t.Parallel()
			hostRows(t, &table{fleet: split(t), covered: seen})
		})
	})
	if t.Failed() {
		return
	}
	for field, actions := range meanings() {
		for _, action := range actions {
			if !seen.seen[field+" of "+string(action)] {
				t.Errorf("no row for %s of %s", field, action)
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[jobs.Request]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if _, ok := meanings()[name]; !ok && name != "bundle" { // which comes beside the payload
			t.Errorf("%s is not in the table", name)
		}
	}
}

// placeRows are of directories that are not there: the jobs say which they looked for.
func placeRows(t *testing.T, x *table) {
	user := "nobody-of-this-name"
	for _, action := range jobs.Actions {
		for fields, p := range map[string]struct {
			payload object
			dir     string
		}{
			"workdir":                            {object{"workdir": x.root + "/w//none/"}, x.root + "/w/none"},
			"workspaceRoot":                      {object{"workspaceRoot": x.root + "/w/root", "workdir": "", "workspace": nil, "deployment": ""}, x.root + "/w/root"},
			"workspaceRoot workspace deployment": {object{"workspaceRoot": x.root, "workspace": "w", "deployment": " d "}, x.root + "/w/d"},
			"workspaceRoot project deployment":   {object{"workspaceRoot": x.root + "/w", "project": "p", "workspace": "", "deployment": "d"}, x.root + "/w/p/d"},
			"user":                               {object{"user": user}, "/home/" + user + "/netlab"},
			"user workspace deployment":          {object{"user": user, "workspace": "w", "deployment": "d"}, "/home/" + user + "/netlab/w/d"},
		} {
			payload := maps.Clone(p.payload)
			payload["action"] = action
			state := jobs.Failed
			if action == jobs.Down || action == jobs.Destroy || action == jobs.Status {
				state = jobs.Success
			}
			x.run(t, row{fields, payload, state, func(t *testing.T, job *jobs.Job, log string) {
				if job.Workdir != p.dir {
					t.Errorf("workdir %s, want %s", job.Workdir, p.dir)
				}
				if action != jobs.Status && !strings.Contains(log, p.dir) {
					t.Errorf("no %s in the log", p.dir)
				}
				if state == jobs.Failed && job.Reason != jobs.ReasonInvalid {
					t.Errorf("reason %q", job.Reason)
				}
				for field, got := range map[string]string{"user": job.User, "workspace": job.Workspace, "project": job.Workspace, "deployment": job.Deployment} {
					want, ok := payload[field].(string)
					if want = strings.TrimSpace(want); ok && want != "" && got != want {
						t.Errorf("%s %q, want %q", field, got, want)
					}
				}
			}})
		}
	}
}

// actionRows are the life of a lab.
func actionRows(t *testing.T, x *table) {
	dir := x.lab("life/lab", "external")
	there := func(want string) func(*testing.T, *jobs.Job, string) {
		return func(t *testing.T, job *jobs.Job, log string) {
			got := ""
			for _, file := range []string{"hosts.yml", "netlab.snapshot.yml", "netlab.lock"} {
				if exists(t, dir, file) {
					got += file + " "
				}
			}
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if job.Action != jobs.Validate && job.Action != jobs.Status && !strings.Contains(log, "netlab-worker: "+string(job.Action)+" in "+dir) {
				t.Errorf("%s does not begin with itself", job.Action)
			}
		}
	}
	place := object{"workspaceRoot": x.root, "workspace": "life", "deployment": "lab"}
	of := func(action any) object {
		payload := maps.Clone(place)
		payload["action"] = action
		return payload
	}
	absent := maps.Clone(place)
	started := "hosts.yml netlab.snapshot.yml netlab.lock "
	x.run(t,
		row{"action", of("validate"), "", there("")},
		row{"action", of("Create"), "", there("hosts.yml netlab.snapshot.yml ")},
		row{"action", absent, "", there(started)},
		row{"action", of("status"), "", func(t *testing.T, _ *jobs.Job, log string) {
			if rows := labs.StatusRows(log); len(rows) != 3 || rows[1][0] != "r1" {
				t.Errorf("rows %q", rows)
			}
		}},
		row{"action", of("RESTART"), "", there(started)},
		row{"action", of(" down "), "", there("hosts.yml netlab.snapshot.yml ")},
		row{"action", of(nil), "", there(started)},
		row{"action", of("destroy"), "", there("")},
	)
}

// marker is a plugin that tells what reaches it.
func marker(name string) string {
	return `import os

def init(topology):
    print("` + name + `: id", topology.get("defaults.multilab.id", None), "seen", len(os.environ.get("SEEN", "")), "mark", topology.defaults.get("mark"), "of", *topology.nodes, flush=True)
`
}

// marked makes a lab with the plugins mark and more, which the topology does not name.
func (x *table) marked(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = x.lab(name, "external")
	for _, plugin := range []string{"mark", "more"} {
		if err := os.WriteFile(filepath.Join(dir, plugin+".py"), []byte(marker(plugin)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// logs checks that the log has the texts.
func logs(texts ...string) func(*testing.T, *jobs.Job, string) {
	return func(t *testing.T, _ *jobs.Job, log string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(log, text) {
				t.Errorf("no %q in the log", text)
			}
		}
	}
}

func pluginRows(t *testing.T, x *table) {
	dir := x.marked(t, "plugin")
	for _, r := range []struct {
		action jobs.Action
		plugin any
		names  []string
	}{
		{jobs.Validate, "mark", []string{"mark: id"}},
		{jobs.Create, []string{"mark"}, []string{"mark: id"}},
		{jobs.Up, []any{"more", "mark", nil, ""}, []string{"mark: id", "more: id"}},
		{jobs.Restart, " more ", []string{"more: id"}},
	} {
		x.run(t, row{"plugin", object{"action": r.action, "workdir": dir, "plugin": r.plugin}, "", logs(r.names...)})
	}
	x.run(t, row{"action", object{"action": "destroy", "workdir": dir}, "", logs()})
}

// numbered checks that a lab has the multilab id.
func numbered(id string) func(*testing.T, *jobs.Job, string) {
	return func(t *testing.T, job *jobs.Job, log string) {
		if !strings.Contains(log, "mark: id "+id+" ") {
			t.Errorf("Netlab was not given the id %s", id)
		}
		if job.Action.Changes() && job.Action != jobs.Create && job.Instance != id || job.Request.MultilabID != id {
			t.Errorf("instance %q, multilabId %q, want %s", job.Instance, job.Request.MultilabID, id)
		}
	}
}

func multilabRows(t *testing.T, x *table) {
	dir := x.marked(t, "multilab")
	of := func(action jobs.Action, id any) object {
		return object{"action": action, "workdir": dir, "plugin": "mark", "multilabId": id}
	}
	x.run(t,
		row{"multilabId", of(jobs.Validate, " 120 "), "", numbered("120")},
		row{"multilabId", of(jobs.Validate, 121), "", numbered("121")},
		row{"multilabId", of(jobs.Create, 122), "", numbered("122")},
		row{"multilabId", of(jobs.Up, "123"), "", numbered("123")},
		row{"multilabId", of(jobs.Restart, 124), "", numbered("124")},
		row{"action", object{"action": "destroy", "workdir": dir}, "", logs()},
	)
}

func instanceRows(t *testing.T, x *table) {
	dir, elsewhere := x.marked(t, "instance"), x.lab("elsewhere", "external")
	of := func(action jobs.Action, id any) object {
		return object{"action": action, "workdir": dir, "plugin": "mark", "instance": id}
	}
	shown := logs("Lab 144 in "+dir, "│ r1")
	x.run(t,
		row{"instance", of(jobs.Validate, "141"), "", numbered("141")},
		row{"instance", of(jobs.Create, 142), "", numbered("142")},
		row{"instance", of(jobs.Up, "143"), "", numbered("143")},
		row{"instance", of(jobs.Restart, 144), "", numbered("144")},
		row{"instance", object{"action": "status", "workdir": elsewhere, "instance": "144"}, "", shown},
		row{"instance", object{"action": "status", "workdir": elsewhere, "instance": 144}, "", shown},
		row{"action", object{"action": "destroy", "workdir": dir}, "", logs()},
	)
}

// nodes is a topology with such nodes.
func nodes(names ...string) string {
	topology := "provider: external\ndefaults.device: linux\nnodes:\n"
	for _, name := range names {
		topology += "  " + name + ": { netlab_ansible_skip_module: [ initial, routing ] }\n"
	}
	return topology
}

// madeOf checks that the lab in the directory has just these nodes.
func madeOf(dir string, names ...string) func(*testing.T, *jobs.Job, string) {
	return func(t *testing.T, _ *jobs.Job, _ string) {
		content, err := os.ReadFile(filepath.Join(dir, "netlab.snapshot.yml"))
		if err != nil {
			t.Fatal(err)
		}
		var snapshot struct{ Nodes map[string]any }
		if err := yaml.Unmarshal(content, &snapshot); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(snapshot.Nodes)); !slices.Equal(got, names) {
			t.Errorf("nodes %v, want %v", got, names)
		}
	}
}

// wrong checks that validate names the node that is wrong, and the file.
func wrong(dir, file, word string) func(*testing.T, *jobs.Job, string) {
	return func(t *testing.T, job *jobs.Job, _ string) {
		found := slices.ContainsFunc(job.Errors, func(p jobs.Problem) bool {
			return strings.HasSuffix(p.File, file) && strings.Contains(p.Text, word)
		})
		if !found {
			t.Errorf("errors %+v, want %s in %s", job.Errors, word, file)
		}
		if content, err := os.ReadFile(filepath.Join(dir, "topology.yml")); err == nil && strings.Contains(string(content), word) {
			t.Error("validate has stored its topology")
		}
	}
}

const brokenTopology = "provider: external\nnodes: [ n1 ]\nlinks: [ n1-strange ]\n"

func topologyPathRows(t *testing.T, x *table) {
	dir := x.lab("path", "external")
	for name, content := range map[string]string{"sub/a.yml": nodes("a1"), "b.yaml": nodes("b1", "b2"), "c.yml": nodes("c1"), "broken.yml": brokenTopology} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	of := func(action jobs.Action, path any) object {
		return object{"action": action, "workdir": dir, "topologyPath": path}
	}
	x.run(t,
		row{"topologyPath", of(jobs.Validate, "broken.yml"), jobs.Failed, wrong(dir, "broken.yml", "strange")},
		row{"topologyPath", of(jobs.Create, "sub/a.yml"), "", madeOf(dir, "a1")},
		row{"topologyPath", of(jobs.Up, dir+"/b.yaml"), "", madeOf(dir, "b1", "b2")},
		row{"topologyPath", of(jobs.Restart, "./c.yml"), "", madeOf(dir, "c1")},
		row{"topologyPath", of(jobs.Up, ""), "", madeOf(dir, "r1", "r2")},
		row{"action", object{"action": "destroy", "workdir": dir}, "", logs()},
	)
}

func topologyRows(t *testing.T, x *table) {
	dir := filepath.Join(x.root, "inline")
	of := func(action jobs.Action, topology any) object {
		return object{"action": action, "workdir": dir, "topology": topology}
	}
	x.run(t,
		row{"topology", of(jobs.Validate, brokenTopology), jobs.Failed, wrong(dir, "topology.yml", "strange")},
		row{"topology", of(jobs.Create, nodes("d1")), "", madeOf(dir, "d1")},
		row{"topology", of(jobs.Up, nodes("e1", "e2")), "", madeOf(dir, "e1", "e2")},
		row{"topology", of(jobs.Restart, nodes("f1")), "", madeOf(dir, "f1")},
		row{"topology", of(jobs.Validate, brokenTopology), jobs.Failed, wrong(dir, "topology.yml", "strange")},
		row{"topology", of(jobs.Up, nil), "", madeOf(dir, "f1")},
		row{"action", object{"action": "destroy", "workdir": dir}, "", logs()},
	)
}

func topologyURLRows(t *testing.T, x *table) {
	dir := filepath.Join(x.root, "fetched")
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		text := nodes(strings.Split(r.URL.Query().Get("nodes"), ",")...)
		if r.URL.Path == "/broken" {
			text = brokenTopology
		}
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	of := func(action jobs.Action, path string) object {
		return object{"action": action, "workdir": dir, "topologyUrl": server.URL + path}
	}
	x.run(t,
		row{"topologyUrl", of(jobs.Validate, "/broken?token=hide"), jobs.Failed, wrong(dir, "topology.yml", "strange")},
		row{"topologyUrl", of(jobs.Create, "/?nodes=g1"), "", madeOf(dir, "g1")},
		row{"topologyUrl", of(jobs.Up, "/?nodes=h1,h2"), "", madeOf(dir, "h1", "h2")},
		row{"topologyUrl", of(jobs.Restart, "/?nodes=i1"), "", func(t *testing.T, job *jobs.Job, log string) {
			madeOf(dir, "i1")(t, job, log)
			if want := server.URL + "/"; job.Request.TopologyURL != want {
				t.Errorf("topologyUrl is shown as %s, want %s", job.Request.TopologyURL, want)
			}
		}},
		row{"action", object{"action": "destroy", "workdir": dir}, "", logs()},
	)
	if n := hits.Load(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func stateRootRows(t *testing.T, x *table) {
	dir, root := x.lab("stated", "external"), filepath.Join(x.root, "state", "root")
	of := func(action jobs.Action) object {
		return object{"action": action, "workdir": dir, "stateRoot": root}
	}
	entries := func(want int) func(*testing.T, *jobs.Job, string) {
		return func(t *testing.T, _ *jobs.Job, _ string) {
			content, err := os.ReadFile(filepath.Join(root, "status.yaml"))
			if n := strings.Count(string(content), "dir: "+dir); err != nil || n != want {
				t.Errorf("%d entries in stateRoot, want %d (%v)\n%s", n, want, err, content)
			}
			if own, err := os.ReadFile(x.path("home", ".netlab", "status.yaml")); err == nil && strings.Contains(string(own), dir) {
				t.Errorf("an entry in the home:\n%s", own)
			}
		}
	}
	x.run(t,
		row{"stateRoot", of(jobs.Up), "", entries(1)},
		row{"stateRoot", of(jobs.Status), "", logs("external_stated", "│ r1")},
		row{"stateRoot", of(jobs.Restart), "", entries(1)},
		row{"stateRoot", of(jobs.Down), "", entries(0)},
		row{"stateRoot", of(jobs.Up), "", entries(1)},
		row{"stateRoot", of(jobs.Destroy), "", entries(0)},
	)
}

// containerRows are of what only a lab with containers shows.
func containerRows(t *testing.T, x *table) {
	dir := x.lab("boxes", "linux2")
	x.run(t, row{"multilabId", object{"action": "up", "workdir": dir, "multilabId": 161}, "", logs()})
	collect := func(more object) object {
		maps.Copy(more, object{"action": "collect", "workdir": dir})
		return more
	}
	left := func(want ...string) func(*testing.T, *jobs.Job, string) {
		return func(t *testing.T, _ *jobs.Job, _ string) {
			var got []string
			for _, name := range []string{"config", "one", "one.tar.gz", "sub/two", "sub/two.tgz"} {
				if exists(t, dir, name) {
					got = append(got, name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			for _, name := range got {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	x.run(t,
		row{"action collectCleanup", collect(object{"collectCleanup": false}), "", left("config")},
		row{"collectOutput collectTar collectCleanup", collect(object{"collectOutput": dir + "/one", "collectTar": "one", "collectCleanup": "0"}), "", left("one", "one.tar.gz")},
		row{"collectOutput collectTar collectCleanup", collect(object{"collectOutput": "sub/two", "collectTar": dir + "/sub/two.tgz", "collectCleanup": 1}), "", left("sub/two.tgz")},
	)

	// A run that does not get on ends in time.
	overdue := func(t *testing.T, job *jobs.Job, _ string) {
		if job.Reason != jobs.ReasonTimeout || !strings.Contains(text(job.Error), "1s") {
			t.Errorf("reason %q, error %s", job.Reason, text(job.Error))
		}
	}
	for _, r := range []struct {
		action  jobs.Action
		step    string
		match   string
		seconds any
	}{
		{jobs.Status, "docker ps", "docker ps --format json", 1},
		{jobs.Collect, "docker exec", "ml_161", "1"},
		{jobs.Down, "containerlab destroy", "", 1},
		{jobs.Destroy, "containerlab destroy", "", "1"},
	} {
		x.standins.SetKnob(r.step, standins.Knob{Match: r.match, Gate: "never"})
		x.run(t, row{"timeoutSeconds", object{"action": r.action, "workdir": dir, "timeoutSeconds": r.seconds}, jobs.Failed, overdue})
		x.standins.SetKnob(r.step)
	}

	// The stand-ins of a job whose environment says so have another host, a copy of this one.
	state, err := os.ReadFile(filepath.Join(x.standins.Dir(), "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, action := range []jobs.Action{jobs.Status, jobs.Collect, jobs.Down} {
		for form, environment := range map[string]func(string) any{
			"map":  func(s string) any { return object{"STANDIN_STATE": s} },
			"list": func(s string) any { return []string{"STANDIN_STATE=" + s} },
		} {
			if action != jobs.Status && (i%2 == 0) == (form == "map") {
				continue // the other form is enough
			}
			copied := filepath.Join(x.path(fmt.Sprintf("state-%s-%s", action, form)), "state.json")
			if err := errors.Join(os.Mkdir(filepath.Dir(copied), 0o755), os.WriteFile(copied, state, 0o644)); err != nil {
				t.Fatal(err)
			}
			x.run(t, row{"environment", object{"action": action, "workdir": dir, "environment": environment(copied)}, "", func(t *testing.T, _ *jobs.Job, _ string) {
				if !exists(t, copied+".calls") {
					t.Error("the stand-ins were not given the environment")
				}
			}})
		}
	}
	// Its containers are there still.
	copied := filepath.Join(x.path("state-destroy"), "state.json")
	if err := errors.Join(os.Mkdir(filepath.Dir(copied), 0o755), os.WriteFile(copied, state, 0o644)); err != nil {
		t.Fatal(err)
	}
	x.run(t, row{"environment", object{"action": "destroy", "workdir": dir, "environment": object{"STANDIN_STATE": copied}}, "", func(t *testing.T, _ *jobs.Job, _ string) {
		if !exists(t, copied+".calls") {
			t.Error("the stand-ins were not given the environment")
		}
	}})
	x.run(t, row{"action", object{"action": "destroy", "workdir": dir}, "", logs()})
	if left := x.standins.Containers(); len(left) > 0 {
		t.Errorf("containers %v", left)
	}
}

func cleanupRows(t *testing.T, x *table) {
	dir := x.lab("cleaned", "external")
	for i, cleanup := range []any{false, "0", nil, true, "TRUE", 1} {
		if i == 0 || i > 3 {
			x.run(t, row{"action", object{"action": "create", "workdir": dir}, "", logs()})
		}
		stays := i < 3
		x.run(t, row{"cleanup", object{"action": "down", "workdir": dir, "cleanup": cleanup}, "", func(t *testing.T, _ *jobs.Job, _ string) {
			if exists(t, dir, "hosts.yml") != stays {
				t.Errorf("the generated files stay: %v, with cleanup %#v", !stays, cleanup)
			}
		}})
	}
}

// environmentRows are of the actions that load plugins; containerRows has the others.
func environmentRows(t *testing.T, x *table) {
	dir := x.marked(t, "variables")
	for _, r := range []struct {
		action      jobs.Action
		environment any
		want        string
	}{
		{jobs.Validate, object{"SEEN": 1234567, "NETLAB_MARK": "a", "NONE": nil}, "seen 7 mark a of"},
		{jobs.Validate, object{"SEEN": true, "NETLAB_MARK": 2}, "seen 4 mark 2 of"},
		{jobs.Validate, []any{"SEEN=a=b", "NETLAB_MARK=c", "", nil}, "seen 3 mark c of"},
		{jobs.Create, object{"SEEN": "a longer secret", "NETLAB_MARK": "d"}, "seen 15 mark d of"},
		{jobs.Up, []string{"SEEN=another secret", "NETLAB_MARK=e"}, "seen 14 mark e of"},
		{jobs.Restart, object{"SEEN": "the last secret of all", "NETLAB_MARK": "f"}, "seen 22 mark f of"},
	} {
		x.run(t, row{"environment", object{"action": r.action, "workdir": dir, "plugin": "mark", "environment": r.environment}, "", logs(r.want)})
	}
	x.run(t, row{"action", object{"action": "destroy", "workdir": dir}, "", logs()})
}

// timeoutRows are of the actions that load plugins; containerRows has the others.
func timeoutRows(t *testing.T, x *table) {
	dir := x.chatter("late", object{"gate": "gate"})
	for i, action := range []jobs.Action{jobs.Validate, jobs.Create, jobs.Up, jobs.Restart} {
		seconds := []any{1, "1"}[i%2]
		x.run(t, row{"timeoutSeconds", object{"action": action, "workdir": dir, "timeoutSeconds": seconds}, jobs.Failed, func(t *testing.T, job *jobs.Job, _ string) {
			if job.Reason != jobs.ReasonTimeout || !strings.Contains(text(job.Error), "1s") {
				t.Errorf("reason %q, error %s", job.Reason, text(job.Error))
			}
		}})
	}
}

func unknownRows(t *testing.T, x *table) {
	for _, action := range jobs.Actions {
		job := x.any().submit(t, object{
			"action": action, "workdir": x.root + "/w/none", "frobnicate": object{"a": []int{1}}, "Workdir": "/etc", "collect_output": true, "webhook": nil,
		})
		warnings := strings.Join(job.Warnings, "\n")
		for _, name := range []string{"frobnicate", "Workdir", "collect_output", "webhook"} {
			if !strings.Contains(warnings, `"`+name+`"`) {
				t.Errorf("%s: no %s in the warnings %q", action, name, job.Warnings)
			}
		}
		if ended, _ := x.any().finish(t, job.ID); strings.Join(ended.Warnings, "\n") != warnings || ended.Workdir != x.root+"/w/none" {
			t.Errorf("%s: ends with the warnings %q", action, ended.Warnings)
		}
	}
}

// hostRows are of jobs that choose among hosts.
func hostRows(t *testing.T, x *table) {
	for i, action := range jobs.Actions {
		state := jobs.Failed
		if action == jobs.Down || action == jobs.Destroy || action == jobs.Status {
			state = jobs.Success
		}
		at := func(host string) func(*testing.T, *jobs.Job, string) {
			return func(t *testing.T, job *jobs.Job, _ string) {
				if job.Host != host || job.Placement == "" {
					t.Errorf("host %s (%s), want %s", job.Host, job.Placement, host)
				}
			}
		}
		dir := func(kind string) string { return fmt.Sprintf("%s/w/%s%d", x.root, kind, i) }
		x.run(t,
			row{"host", object{"action": action, "workdir": dir("h"), "host": "beta"}, state, at("beta")},
			row{"labels", object{"action": action, "workdir": dir("m"), "labels": object{"name": "gamma"}}, state, at("gamma")},
			row{"labels", object{"action": action, "workdir": dir("l"), "labels": []string{"name=beta"}, "host": nil}, state, at("beta")},
		)
	}
}
