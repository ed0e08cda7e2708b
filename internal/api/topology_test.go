package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/topology"
)

func TestTopology(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	url := "/jobs/" + p.ID + "/topology"
	b.isError(b.get("/jobs/none/topology"), http.StatusNotFound, "Job none not found")
	b.isError(b.get(url), http.StatusServiceUnavailable, "no worker listens as a")
	f := b.files("a", map[string]string{})
	b.isError(b.get(url), http.StatusNotFound, snapshotFile, "host a", "create, up or restart")
	snapshot, err := os.ReadFile("../topology/testdata/mixed/netlab.snapshot.yml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := topology.Read(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	// Of several pieces, as one with Netlab's defaults may be.
	long := string(snapshot) + "defaults:\n" + strings.Repeat("- x # as long as can be\n", 2*artifact.PieceSize/20)
	for _, content := range []string{string(snapshot), long} {
		f.change(snapshotFile, content)
		got := b.get(url)
		if b.is(got, http.StatusOK, strings.TrimSuffix(string(text), "\n")); got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", got.header)
		}
	}
	for _, bad := range []string{"", "secret", "\x80\x04pickle", strings.Repeat("#", topology.MaxBytes+1)} {
		f.change(snapshotFile, bad)
		got := b.get(url)
		if b.isError(got, http.StatusConflict, snapshotFile, "cannot be read", "restart"); strings.Contains(got.body, "secret") {
			t.Errorf("shows what is there: %s", got.body)
		}
	}
	f.change(snapshotFile, "denied")
	b.isError(b.get(url), http.StatusForbidden, "permission denied")
	if len(b.api.fetching) > 0 || len(b.api.parsing) > 0 {
		t.Errorf("%d and %d places are taken for nothing", len(b.api.fetching), len(b.api.parsing))
	}

	kept := b.running()
	kept.keeps(map[string]string{snapshotFile: string(snapshot)})
	b.is(b.get("/jobs/"+kept.ID+"/topology"), http.StatusOK, strings.TrimSuffix(string(text), "\n"))
}

// A host that does not answer holds up nobody who asks another one.
func TestTopologyOfAHostThatHangs(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	hung := b.running()
	kept := b.running()
	kept.keeps(map[string]string{snapshotFile: "nodes: {}\n"})
	asked := make(chan struct{}, 1)
	free := make(chan struct{})
	defer close(free)
	b.answer("a", "artifact", func(context.Context, string) (string, error) {
		asked <- struct{}{}
		<-free
		return "", errors.New("late")
	})
	if _, err := io.WriteString(b.connect(), "GET /jobs/"+hung.ID+"/topology HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-asked
	if got := b.get("/jobs/" + kept.ID + "/topology"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}
