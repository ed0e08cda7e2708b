package e2e_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

// oneNode is the smallest topology that anything is generated of.
const oneNode = "provider: external\nnodes: { r1: { device: linux, netlab_ansible_skip_module: [ initial, routing ] } }\n"

// create runs a create in a directory that may not be there and returns the job; the topology must have been used.
func (f *fleet) create(payload object, node string) jobs.Job {
	f.t.Helper()
	payload["action"] = "create"
	job, log := f.any().run(f.t, jobs.Success, payload)
	content, err := os.ReadFile(filepath.Join(job.Workdir, "hosts.yml"))
	if err != nil || !strings.Contains(string(content), node) {
		f.t.Errorf("%v: no %s in hosts.yml (%v)\n%s", payload, node, err, log)
	}
	return job
}

// Where a topology may come from.
func TestTopologies(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	put := func(dir, name, node string) string {
		t.Helper()
		path := filepath.Join(f.root, dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(oneNode, "r1", node)), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(f.root, dir)
	}
	// The first of the defaults that is there.
	dir := put("defaults", "topology.yaml", "nyaml")
	f.create(object{"workdir": dir}, "nyaml")
	put("defaults", "topology.yml", "nyml")
	f.create(object{"workdir": dir}, "nyml")
	put("defaults", "netlab/topology.yaml", "nsub")
	f.create(object{"workdir": dir}, "nsub")
	put("defaults", "other/lab.yml", "nother")
	f.create(object{"workdir": dir, "topologyPath": "other/lab.yml"}, "nother")

	inline := filepath.Join(f.root, "inline")
	f.create(object{"workdir": inline, "topology": oneNode}, "r1")
	before, err := os.Stat(filepath.Join(inline, "topology.yml"))
	if err != nil {
		t.Fatal(err)
	}
	a.run(t, jobs.Success, object{"action": "up", "workdir": inline, "topology": oneNode})
	_, log := a.run(t, jobs.Success, object{"action": "up", "workdir": inline, "topology": oneNode})
	after, err := os.Stat(filepath.Join(inline, "topology.yml"))
	if err != nil || !after.ModTime().Equal(before.ModTime()) || !strings.Contains(log, "runs and is unchanged") {
		t.Errorf("an unchanged topology was written again (%v)\n%s", err, log)
	}
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": inline})

	// One that is too large for a message, and yet the same.
	large := oneNode + "# " + strings.Repeat("x", 600<<10) + "\n"
	job := f.create(object{"workdir": filepath.Join(f.root, "large"), "topology": large}, "r1")
	if job.Request.Topology == nil || job.Request.Topology.Bytes != len(large) {
		t.Errorf("request shows %+v", job.Request.Topology)
	}
	if content, err := os.ReadFile(filepath.Join(f.root, "large", "topology.yml")); err != nil || string(content) != large {
		t.Errorf("%d bytes stored, %v", len(content), err)
	}

	for _, payload := range []object{
		{"workdir": f.root + "/defaults", "topologyPath": "none.yml"},
		{"workdir": f.root + "/nothing"},
		{"workdir": put("link", "lab.yml", "r1"), "topologyPath": "out.yml"},
	} {
		payload["action"] = "create"
		if payload["topologyPath"] == "out.yml" {
			if err := os.Symlink("/etc/passwd", f.root+"/link/out.yml"); err != nil {
				t.Fatal(err)
			}
		}
		if job, _ := a.run(t, jobs.Failed, payload); job.Reason != jobs.ReasonInvalid || !strings.HasPrefix(text(job.Error), "topologyPath: ") {
			t.Errorf("%v: reason %q, error %s", payload, job.Reason, text(job.Error))
		}
	}
}

func TestTopologyURL(t *testing.T) {
	t.Parallel()
	hits := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits <- r.URL.Path
		switch r.URL.Path {
		case "/lab.yml":
			if r.URL.Query().Get("token") != "correct-horse-battery" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, oneNode)
		case "/inside":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/list.yml":
			_, _ = io.WriteString(w, "- no\n- topology\n")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	f := single(t, "NETLAB_WORKER_URL_NETWORKS=127.0.0.0/8")
	a, dir := f.any(), filepath.Join(f.root, "url")
	job := f.create(object{"workdir": dir, "topologyUrl": server.URL + "/lab.yml?token=correct-horse-battery"}, "r1")
	if job.Request.TopologyURL != server.URL+"/lab.yml" {
		t.Errorf("the job shows %s", job.Request.TopologyURL)
	}
	a.run(t, jobs.Success, object{"action": "validate", "workdir": filepath.Join(f.root, "checked"), "topologyUrl": server.URL + "/lab.yml?token=correct-horse-battery"})
	if exists(t, f.root, "checked") {
		t.Error("validate made the directory")
	}
	secrets{"correct-horse-battery"}.inFiles(t, f.path("data"), false)
	for path, want := range map[string]string{
		"/inside":   "internal",
		"/file":     "http",
		"/none":     "404",
		"/list.yml": "mapping",
	} {
		job, log := a.run(t, jobs.Failed, object{"action": "create", "workdir": filepath.Join(f.root, "bad"), "topologyUrl": server.URL + path + "?token=hunter22222"})
		if job.Reason != jobs.ReasonInvalid || !strings.HasPrefix(text(job.Error), "topologyUrl: ") || !strings.Contains(text(job.Error), want) {
			t.Errorf("%s: reason %q, error %s", path, job.Reason, text(job.Error))
		}
		if strings.Contains(log+text(job.Error), "hunter22222") {
			t.Errorf("%s: the query is shown:\n%s", path, log)
		}
	}
	for len(hits) > 0 {
		<-hits
	}
	// A host that allows no internal network fetches nothing from one.
	strict := single(t)
	status, body := strict.any().do(t, "POST", "/jobs", object{"action": "create", "workdir": strict.root + "/url", "topologyUrl": server.URL + "/lab.yml"})
	if status != http.StatusBadRequest || !strings.Contains(string(body), "topologyUrl") || len(hits) > 0 {
		t.Errorf("%d %s, %d requests", status, body, len(hits))
	}
}

// file is one of an archive.
type file struct{ name, content string }

func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if target, ok := strings.CutPrefix(f.content, "-> "); ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, target, 0
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := io.WriteString(archive, f.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	for _, f := range files {
		w, err := archive.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// postBundle posts a job with an archive beside it, as curl -F does.
func (a *api) postBundle(t *testing.T, payload object, archive []byte) (status int, job jobs.Job, body string) {
	t.Helper()
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := parts.WriteField("job", string(text)); err != nil {
		t.Fatal(err)
	}
	part, err := parts.CreateFormFile("bundle", "lab")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	status, answer := a.do(t, "POST", "/jobs", form.String(), "Content-Type", parts.FormDataContentType())
	if status == http.StatusAccepted {
		if err := json.Unmarshal(answer, &job); err != nil {
			t.Fatal(err)
		}
	}
	return status, job, string(answer)
}

func TestBundles(t *testing.T) {
	t.Parallel()
	f := split(t)
	a := f.any()
	lab := []file{
		{"topology.yml", "plugin: [ hello ]\n" + oneNode},
		{"hello.py", "def init(topology):\n  print('hello from the bundle', flush=True)\n"},
		{"sub/notes.txt", strings.Repeat("notes\n", 100_000)},
	}
	for name, archive := range map[string][]byte{"tar": tarOf(t, lab...), "zip": zipOf(t, lab...)} {
		dir := filepath.Join(f.root, name)
		status, job, body := a.postBundle(t, object{"action": "create", "workdir": dir}, archive)
		if status != http.StatusAccepted || job.Request.Bundle == nil || job.Request.Bundle.Bytes != len(archive) {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		ended, log := a.finish(t, job.ID)
		if ended.State != jobs.Success || !strings.Contains(log, "hello from the bundle") || !exists(t, dir, "sub", "notes.txt") {
			t.Errorf("%s: %s %s\n%s", name, ended.State, text(ended.Error), log)
		}
	}
	if status, _, body := a.postBundle(t, object{"action": "create", "workdir": filepath.Join(f.root, "no")}, []byte("no archive")); status != http.StatusBadRequest {
		t.Errorf("no archive: %d %s", status, body)
	}
	outside := filepath.Join(f.root, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string][]byte{
		"up":       tarOf(t, lab[0], file{"../outside/evil", "x"}),
		"absolute": zipOf(t, lab[0], file{outside + "/evil", "x"}),
		"link":     tarOf(t, lab[0], file{"out", "-> " + outside}, file{"out/evil", "x"}),
		"pickle":   tarOf(t, lab[0], file{"netlab.snapshot.pickle", "cos\nsystem\n"}),
		"bomb":     tarOf(t, lab[0], file{"zeros", strings.Repeat("\x00", 50<<20)}),
		"none":     []byte("\x1f\x8bno archive"),
	} {
		dir := filepath.Join(f.root, "bad-"+name)
		status, job, body := a.postBundle(t, object{"action": "create", "workdir": dir}, archive)
		if status != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, status, body)
			continue
		}
		ended, log := a.finish(t, job.ID)
		if ended.State != jobs.Failed || ended.Reason != jobs.ReasonInvalid || !strings.HasPrefix(text(ended.Error), "bundle: ") {
			t.Errorf("%s: %s, reason %q, error %s\n%s", name, ended.State, ended.Reason, text(ended.Error), log)
		}
		if exists(t, dir, "topology.yml") {
			t.Errorf("%s: a part of it was unpacked", name)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v %v", left, err)
	}
	if status, _, body := a.postBundle(t, object{"action": "down", "workdir": outside}, tarOf(t, lab...)); status != http.StatusBadRequest || !strings.Contains(body, "bundle: ") {
		t.Errorf("a bundle for a down: %d %s", status, body)
	}
}

// What Netlab finds wrong is data, and the lab is not touched.
func TestValidate(t *testing.T) {
	t.Parallel()
	f := single(t)
	a, dir := f.any(), f.lab("lab", "external")
	a.run(t, jobs.Success, object{"action": "up", "workdir": dir})
	if err := os.WriteFile(filepath.Join(dir, "beside.py"), []byte("def init(topology):\n  print('from beside', flush=True)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprint(e.Name(), info.Size(), info.ModTime().UnixNano()))
		}
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	before := state()
	broken := strings.Replace(oneNode, "nodes", "links: [ r1-r8 ]\nnodes", 1)
	wrong := func(job jobs.Job, log string) {
		t.Helper()
		if job.State != jobs.Failed || job.Reason != jobs.ReasonNetlabFailed || len(job.Errors) == 0 || job.Errors[0].File == "" || !strings.Contains(job.Errors[0].Text, "r8") {
			t.Errorf("%s, reason %q, errors %+v\n%s", job.State, job.Reason, job.Errors, log)
		}
	}
	a.run(t, jobs.Success, object{"action": "validate", "workdir": dir})
	wrong(a.finish(t, a.submit(t, object{"action": "validate", "workdir": dir, "topology": broken}).ID))
	// An inline topology may use what lies beside it in the lab's directory.
	if _, log := a.run(t, jobs.Success, object{"action": "validate", "workdir": dir, "topology": "plugin: [ beside ]\n" + oneNode}); !strings.Contains(log, "from beside") {
		t.Errorf("log:\n%s", log)
	}
	wrong(a.finish(t, a.submit(t, object{"action": "validate", "workdir": f.lab("broken", "broken")}).ID))
	if err := os.Rename(filepath.Join(f.root, "broken", "topology.yml"), filepath.Join(f.root, "broken", "other.yml")); err != nil {
		t.Fatal(err)
	}
	wrong(a.finish(t, a.submit(t, object{"action": "validate", "workdir": filepath.Join(f.root, "broken"), "topologyPath": "other.yml"}).ID))
	_, job, _ := a.postBundle(t, object{"action": "validate", "workdir": dir}, tarOf(t, file{"topology.yml", broken}))
	wrong(a.finish(t, job.ID))
	_, job, _ = a.postBundle(t, object{"action": "validate", "workdir": filepath.Join(f.root, "new")}, zipOf(t, file{"topology.yml", oneNode}))
	if ended, log := a.finish(t, job.ID); ended.State != jobs.Success || exists(t, f.root, "new") {
		t.Errorf("%s %s\n%s", ended.State, text(ended.Error), log)
	}
	if after := state(); after != before {
		t.Errorf("the lab was touched:\n%s\nwas:\n%s", after, before)
	}
	f.awaitEmptyJournal(f.path("data", "worker", "jobs"))
}
