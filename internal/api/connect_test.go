package api

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"netlab-runner/internal/hosts"
)

const (
	connectBody  = `{"node":"r1","show":["ip","route"],"workdir":"/home/lab/one","project":"x"}`
	connectAsked = `{"workdir":"/home/lab/one","node":"r1","show":["ip","route"]}`
)

// play makes a host answer the question at the endpoint with the reply, "" with an error.
func (b *testBundle) play(host, endpoint, question, reply string) {
	b.t.Helper()
	b.answer(host, endpoint, func(_ context.Context, asked string) (string, error) {
		if reply == "" || question != "" && asked != question {
			return "", errors.New("it was asked " + asked)
		}
		return reply, nil
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	post := func(body string) reply {
		t.Helper()
		return b.do(http.MethodPost, "/connect", body)
	}
	b.isError(post(connectBody), http.StatusBadRequest, "host", "/hosts")
	b.online(hostNamed("a"))
	// The only host.
	b.isError(post(connectBody), http.StatusServiceUnavailable, "no worker listens as a")
	b.play("a", "connect", connectAsked, `{"log":"<route>\n","exitCode":0}`)
	b.is(post(connectBody), http.StatusOK, `{"log":"<route>\n","exitCode":0}`)
	b.is(post(`{"workdir":"/home/lab/one","show":"ip route","node":"r1","host":"a"}`), http.StatusOK, `{"log":"<route>\n","exitCode":0}`)
	b.isError(post(`{"node":"r1","show":"x","instance":"x","host":"z"}`), http.StatusBadRequest, "host", `"z"`)
	b.isError(post(`{"node":"r1","show":"x","workdir":"/etc/x"}`), http.StatusBadRequest, "workdir", "/home")
	b.isError(post(`{"node":"r1","show":"x"}`), http.StatusBadRequest, "workdir", "instance")
	b.isError(post(`[]`), http.StatusBadRequest, "body")
	if got := b.get("/connect"); got.status != http.StatusMethodNotAllowed {
		t.Errorf("%+v", got)
	}

	b.online(hostNamed("b"))
	b.isError(post(connectBody), http.StatusBadRequest, "host", "/hosts")
	// Where the lab is.
	if _, _, err := b.bus.Place(b.ctx, "/home/lab/one", "b"); err != nil {
		t.Fatal(err)
	}
	b.play("b", "connect", "", `{"status":404,"error":"the lab has no node r1"}`)
	b.isError(post(connectBody), http.StatusNotFound, "no node r1")
}

func TestRefusalsOfAHost(t *testing.T) {
	t.Parallel()
	for answer, status := range map[string]int{
		`{"status":400,"error":"why"}`: http.StatusBadRequest,
		`{"status":404,"error":"why"}`: http.StatusNotFound,
		`{"status":409,"error":"why"}`: http.StatusConflict,
		`{"status":503,"error":"why"}`: http.StatusServiceUnavailable,
		`{"status":200,"error":"why"}`: http.StatusServiceUnavailable,
		`{"status":500,"error":"why"}`: http.StatusServiceUnavailable,
		`{"log":7}`:                    http.StatusServiceUnavailable,
		`no JSON`:                      http.StatusServiceUnavailable,
		``:                             http.StatusServiceUnavailable,
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *Config) { c.DefaultHost = "a" })
			b.online(hosts.Host{Name: "a"})
			b.play("a", "connect", "", answer)
			got := b.do(http.MethodPost, "/connect", connectBody)
			b.isError(got, status)
			if after := got.header.Get("Retry-After"); (after != "") != (status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q", after)
			}
		})
	}
}

func TestGraph(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.DefaultHost = "a" })
	b.online(hostNamed("a"))
	b.play("a", "graph", `{"instance":"7","workdir":"/home/lab/one","topologyPath":"netlab/topology.yml","type":"topology"}`, `{"svgBase64":"PHN2Zz4=","outputPath":"netlab.graph.svg"}`)
	b.is(b.do(http.MethodPost, "/graph", `{"instance":7,"workdir":"/home/lab/one","topologyPath":"/home/lab/one/netlab/topology.yml","cleanup":"no"}`),
		http.StatusOK, `{"svgBase64":"PHN2Zz4=","outputPath":"netlab.graph.svg"}`)
	b.isError(b.do(http.MethodPost, "/graph", `{"instance":"7"}`), http.StatusServiceUnavailable, "it was asked")
	b.isError(b.do(http.MethodPost, "/graph", `{"instance":"7","type":"pie"}`), http.StatusBadRequest, "type", "isis")
}
