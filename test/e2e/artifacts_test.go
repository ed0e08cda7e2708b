package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/topology"
	"netlab-runner/test/labs"
)

type artifactList struct {
	Artifacts []struct {
		Path  string
		Bytes int64
		Type  string
		Kept  bool
	}
	Truncated bool
}

// artifacts lists a job's files: their sizes by path, and which of them are kept.
func (a *api) artifacts(t *testing.T, id string) (sizes map[string]int64, kept []string) {
	t.Helper()
	var list artifactList
	a.get(t, "/jobs/"+id+"/artifacts", &list)
	sizes = map[string]int64{}
	for _, f := range list.Artifacts {
		if sizes[f.Path] = f.Bytes; f.Kept {
			kept = append(kept, f.Path)
		}
	}
	return sizes, kept
}

// artifact reads one of a job's files.
func (a *api) artifact(t *testing.T, id, path string, header ...string) (int, []byte) {
	t.Helper()
	return a.do(t, "GET", "/jobs/"+id+"/artifact?path="+url.QueryEscape(path), nil, header...)
}

// snapshotOf checks that the job has left a snapshot of so many nodes, as YAML and as the topology of its lab.
func (a *api) snapshotOf(t *testing.T, job jobs.Job, nodes int) *topology.Topology {
	t.Helper()
	status, content := a.artifact(t, job.ID, "netlab.snapshot.yml")
	var snapshot struct{ Nodes map[string]any }
	if err := yaml.Unmarshal(content, &snapshot); status != http.StatusOK || err != nil || len(snapshot.Nodes) != nodes {
		t.Errorf("snapshot after %s: %d, %d nodes, %v", job.Action, status, len(snapshot.Nodes), err)
	}
	var lab topology.Topology
	a.get(t, "/jobs/"+job.ID+"/topology", &lab)
	if len(lab.Nodes) != nodes {
		t.Errorf("topology after %s: %+v", job.Action, lab)
	}
	return &lab
}

// What clients read after each action is there, without the host too where it was to be kept.
func TestArtifactsOfActions(t *testing.T) {
	t.Parallel()
	f := split(t)
	a, dir := f.any(), f.lab("files", "linux2")
	created, _ := a.run(t, jobs.Success, object{"action": "create", "workdir": dir})
	lab := a.snapshotOf(t, created, 3)
	if lab.Name != "files" || len(lab.Links) == 0 || lab.Nodes[0].Mgmt.IPv4 == "" || lab.Nodes[0].Device == "" || lab.Nodes[0].Image == "" {
		t.Errorf("%+v", lab)
	}
	sizes, _ := a.artifacts(t, created.ID)
	for _, path := range []string{"clab.yml", "topology.yml", "netlab.snapshot.yml", "hosts.yml", "ansible.cfg"} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || sizes[path] != info.Size() {
			t.Errorf("%s: %d in the list, %v", path, sizes[path], err)
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if status, got := a.artifact(t, created.ID, path); err != nil || status != http.StatusOK || !bytes.Equal(got, content) {
			t.Errorf("%s: %d, %d bytes, %v", path, status, len(got), err)
		}
	}
	for _, action := range []string{"up", "up", "restart"} {
		if err := os.Remove(filepath.Join(dir, "netlab.snapshot.yml")); err != nil {
			t.Fatal(err)
		}
		job, _ := a.run(t, jobs.Success, object{"action": action, "workdir": dir})
		a.snapshotOf(t, job, 3)
	}
	collected, _ := a.run(t, jobs.Success, object{"action": "collect", "workdir": dir, "collectOutput": "out/config", "collectTar": "out/all.tar.gz"})
	sizes, _ = a.artifacts(t, collected.ID)
	configurations := 0
	for path := range sizes {
		if strings.HasPrefix(path, "out/config/") {
			configurations++
		}
	}
	if status, content := a.artifact(t, collected.ID, "out/all.tar.gz"); configurations == 0 || status != http.StatusOK || !bytes.HasPrefix(content, []byte("\x1f\x8b")) {
		t.Errorf("collected: %v, tarball %d, %d bytes", sizes, status, len(content))
	}
	// What is gone is gone, and what leads out was never there.
	a.run(t, jobs.Success, object{"action": "destroy", "workdir": dir})
	for path, want := range map[string]int{"clab.yml": 404, "netlab.snapshot.yml": 404, "topology.yml": 200, "../secret": 400, "/etc/passwd": 400, "": 400} {
		if status, content := a.artifact(t, created.ID, path); status != want {
			t.Errorf("%q: %d %s, want %d", path, status, content, want)
		}
	}
	if status, content := a.do(t, "GET", "/jobs/"+created.ID+"/topology", nil); status != http.StatusNotFound || !bytes.Contains(content, []byte("create, up or restart")) {
		t.Errorf("topology: %d %s", status, content)
	}
}

// Files of NETLAB_API_KEEP are there with the host gone and its files with it, from each API.
func TestKeptArtifacts(t *testing.T) {
	t.Parallel()
	f := split(t, "NETLAB_API_KEEP=*.yml,host_vars/**")
	first, second := f.apis[0], f.apis[1]
	dir := f.lab("kept", "external")
	job, _ := first.run(t, jobs.Success, object{"action": "create", "workdir": dir, "host": "alpha"})
	other, _ := first.run(t, jobs.Success, object{"action": "create", "workdir": f.lab("other", "external"), "host": "beta"})
	_, kept := first.artifacts(t, job.ID)
	for _, path := range []string{"netlab.snapshot.yml", "topology.yml", "hosts.yml"} {
		if !slices.Contains(kept, path) {
			t.Errorf("%s is not kept: %q", path, kept)
		}
	}
	if job.Kept == nil || job.Kept.Files != len(kept) || len(job.Warnings) > 0 {
		t.Errorf("%+v %q", job.Kept, job.Warnings)
	}
	_, snapshot := first.artifact(t, job.ID, "netlab.snapshot.yml")
	response := first.open(t, "GET", "/jobs/"+job.ID+"/artifact?path=netlab.snapshot.yml", nil)
	tag := response.Header.Get("Etag")
	_ = response.Body.Close()
	if err := os.WriteFile(filepath.Join(dir, "netlab.snapshot.yml"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, w := range f.workers {
		w.kill()
	}
	if err := os.RemoveAll(f.root); err != nil {
		t.Fatal(err)
	}
	second.restart(t, f)
	for _, a := range []*api{first, f.any()} {
		if status, got := a.artifact(t, job.ID, "netlab.snapshot.yml"); status != http.StatusOK || !bytes.Equal(got, snapshot) {
			t.Errorf("%d, %d bytes, want %d", status, len(got), len(snapshot))
		}
		if status, _ := a.artifact(t, job.ID, "netlab.snapshot.yml", "If-None-Match", tag); status != http.StatusNotModified {
			t.Errorf("with its tag: %d", status)
		}
		a.snapshotOf(t, job, 2)
		a.snapshotOf(t, other, 2)
		if sizes, now := a.artifacts(t, job.ID); len(sizes) != len(kept) || len(now) != len(kept) {
			t.Errorf("%v, want %q", sizes, kept)
		}
		response := a.open(t, "GET", "/jobs/"+job.ID+"/artifact?path=ansible.cfg", nil)
		content, _ := io.ReadAll(response.Body)
		if _ = response.Body.Close(); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || !bytes.Contains(content, []byte("alpha")) {
			t.Errorf("what was not kept: %d %s", response.StatusCode, content)
		}
	}
}

// restart ends an API and starts it again with nothing of its own left.
func (a *api) restart(t *testing.T, f *fleet) {
	t.Helper()
	a.kill()
	i := slices.Index(f.apis, a)
	f.apis = slices.Delete(f.apis, i, i+1)
	if err := os.RemoveAll(f.path("two")); err != nil {
		t.Fatal(err)
	}
	f.startAPI(a.env).awaitReady(0)
}

// peak is the most memory that a process has had, in bytes.
func (p *program) peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no peak in %s", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// A large file passes through both programs in pieces, and one that is changed meanwhile is broken off.
func TestALargeArtifact(t *testing.T) {
	t.Parallel()
	f := split(t)
	a := f.any()
	dir := filepath.Join(f.root, "large")
	labs.Copy(t, "external", dir)
	job, _ := a.run(t, jobs.Success, object{"action": "create", "workdir": dir, "host": "alpha"})
	file := filepath.Join(dir, "large.tar.gz")
	const size = 192 << 20
	want := sha256.New()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for i := range size >> 20 {
		for at := range block {
			block[at] = byte(at*7 + at>>8 + i)
		}
		if _, err := io.MultiWriter(out, want).Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	before := a.peak(t) + f.workers[0].peak(t)
	response := a.open(t, "GET", "/jobs/"+job.ID+"/artifact?path=large.tar.gz", nil)
	got := sha256.New()
	n, err := io.Copy(got, response.Body)
	_ = response.Body.Close()
	if err != nil || n != size || response.ContentLength != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d bytes of %d, %v", n, response.ContentLength, err)
	}
	if more := a.peak(t) + f.workers[0].peak(t) - before; more > size/3 {
		t.Errorf("the programs took %d MiB more for a file of %d MiB", more>>20, size>>20)
	}
	status, part := a.artifact(t, job.ID, "large.tar.gz", "Range", fmt.Sprintf("bytes=%d-%d", size-5, size+100))
	if status != http.StatusPartialContent || !bytes.Equal(part, block[len(block)-5:]) {
		t.Errorf("its end: %d %v, want %v", status, part, block[len(block)-5:])
	}

	response = a.open(t, "GET", "/jobs/"+job.ID+"/artifact?path=large.tar.gz", nil)
	if _, err := io.ReadFull(response.Body, block); err != nil {
		t.Fatal(err)
	}
	change, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = change.WriteAt([]byte("changed"), size/2)
		err = errors.Join(err, change.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err = io.Copy(io.Discard, response.Body)
	if _ = response.Body.Close(); err == nil {
		t.Errorf("a file that was changed was sent to its end, %d bytes", n)
	}
}
