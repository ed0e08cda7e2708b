package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// keeps ends the job with these files kept.
func (p *played) keeps(files map[string]string) {
	p.t.Helper()
	list := &bus.KeptList{}
	for path, text := range files {
		f := bus.KeptFile{Path: path, Bytes: int64(len(text)), Modified: at(), ETag: "kept-" + path, Token: bus.NewKeptToken()}
		if _, err := p.bus.PutKept(p.ctx, p.Host, p.ID, f.Token, strings.NewReader(text), f.Bytes); err != nil {
			p.t.Fatal(err)
		}
		list.Files = append(list.Files, f)
	}
	if err := p.bus.PutKeptList(p.ctx, p.Host, p.ID, list); err != nil {
		p.t.Fatal(err)
	}
	p.Kept = &jobs.Kept{Files: len(files), Bytes: 1}
	p.move(jobs.Succeed)
	p.shown()
}

// What was kept is what the job has left, host or no host.
func TestKeptArtifacts(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	long := large(3)
	p.keeps(map[string]string{"clab.yml": "as it was", "long": long, "empty": ""})
	url := "/jobs/" + p.ID + "/artifact?path="
	const kept = `{"path":"clab.yml","bytes":9,"modifiedAt":"2026-01-02T03:04:05Z","type":"text/yaml; charset=utf-8","kept":true},` +
		`{"path":"empty","bytes":0,"modifiedAt":"2026-01-02T03:04:05Z","type":"application/octet-stream","kept":true}`
	keptLong := fmt.Sprintf(`{"path":"long","bytes":%d,"modifiedAt":"2026-01-02T03:04:05Z","type":"application/octet-stream","kept":true}`, len(long))
	check := func(when string) {
		t.Helper()
		got := b.get(url + "clab.yml")
		if got.status != http.StatusOK || got.body != "as it was" || got.header.Get("Etag") != `"kept-clab.yml"` {
			t.Errorf("%s: %+v", when, got)
		}
		if got := b.get(url+"long", "Range: bytes=300000-1200000"); got.status != http.StatusPartialContent || got.body != long[300000:1200001] {
			t.Errorf("%s: %d, %d bytes", when, got.status, len(got.body))
		}
		if got := b.get(url + "long"); got.body != long {
			t.Errorf("%s: %d bytes", when, len(got.body))
		}
		b.is(b.get(url+"empty"), http.StatusOK, "")
		b.is(b.get(url+"clab.yml", `If-None-Match: "kept-clab.yml"`), http.StatusNotModified, "")
	}
	check("no worker")
	b.is(b.get("/jobs/"+p.ID+"/artifacts"), http.StatusOK, `{"artifacts":[`+kept+`,`+keptLong+`],"truncated":true}`)
	b.isError(b.get(url+"other"), http.StatusServiceUnavailable, "no worker listens as a")

	b.files("a", map[string]string{"clab.yml": "changed", "other": "other"})
	b.answer("a", "artifacts", func(context.Context, string) (string, error) {
		return `{"files":[{"path":"clab.yml","bytes":7},{"path":"d","bytes":1,"modifiedAt":"2026-01-02T03:04:05Z","type":"x"},{"path":"empty"}]}`, nil
	})
	check("with a worker")
	b.is(b.get("/jobs/"+p.ID+"/artifacts"), http.StatusOK,
		`{"artifacts":[`+strings.Replace(kept, `,{"path":"empty"`, `,{"path":"d","bytes":1,"modifiedAt":"2026-01-02T03:04:05Z","type":"x","kept":false},{"path":"empty"`, 1)+`,`+keptLong+`],"truncated":false}`)
	b.is(b.get(url+"other"), http.StatusOK, "other")

	// Where the store has lost them, the host may have them still.
	if err := b.bus.PurgeKept(b.ctx, "a", p.ID); err != nil {
		t.Fatal(err)
	}
	b.is(b.get(url+"clab.yml"), http.StatusOK, "changed")
	lost := b.running()
	list := &bus.KeptList{Files: []bus.KeptFile{{Path: "other", Bytes: 9, Modified: at(), ETag: "lost", Token: bus.NewKeptToken()}}}
	if err := b.bus.PutKeptList(b.ctx, "a", lost.ID, list); err != nil {
		t.Fatal(err)
	}
	lost.Kept = &jobs.Kept{Files: 1, Bytes: 9}
	lost.move(jobs.Succeed)
	lost.shown()
	b.is(b.get("/jobs/"+lost.ID+"/artifact?path=other"), http.StatusOK, "other")
}
