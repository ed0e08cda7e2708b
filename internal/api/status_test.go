package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/hosts"
)

// playStatus makes a host answer with what replies has for a question.
func (b *testBundle) playStatus(host string, replies map[string]string) {
	b.t.Helper()
	b.answer(host, "status", func(_ context.Context, question string) (string, error) {
		if reply, ok := replies[question]; ok {
			return reply, nil
		}
		return "", errors.New("unexpected question " + question)
	})
}

const (
	allLabs     = `{"instance":"","text":false}`
	allLabsText = `{"instance":"","text":true}`
)

func TestStatusOfTheDefaultHost(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.DefaultHost = "a" })
	b.isError(b.get("/status"), http.StatusServiceUnavailable, "no worker listens as a")
	b.online(hostNamed("a"))
	b.online(hostNamed("b"))
	b.playStatus("a", map[string]string{
		allLabs:                             `{"found":true,"labs":{"7": {"dir": "/home/<lab>"}}}`,
		allLabsText:                         `{"found":true,"text":"│ id │\n"}`,
		`{"instance":"7","text":false}`:     `{"found":true,"labs":{"nodes":{}}}`,
		`{"instance":"7","text":true}`:      `{"found":true,"text":"Lab 7\n"}`,
		`{"instance":"8","text":false}`:     `{"found":false,"labs":{"error":"Unknown lab instance 8"}}`,
		`{"instance":"8","text":true}`:      `{"found":false}`,
		`{"instance":"a/b ü","text":false}`: `{"found":true}`,
		`{"instance":"x","text":false}`:     `no JSON`,
	})
	b.playStatus("b", map[string]string{allLabs: `{"found":false}`, allLabsText: `{"found":false}`})

	b.is(b.get("/status"), http.StatusOK, `{"7":{"dir":"/home/<lab>"}}`)
	b.is(b.get("/status?output=json"), http.StatusOK, `{"7":{"dir":"/home/<lab>"}}`)
	b.is(b.get("/status?output=text"), http.StatusOK, `{"status":"│ id │\n"}`)
	b.is(b.get("/status?host=b"), http.StatusNotFound, `{"warning":"No netlab-managed labs"}`)
	b.is(b.get("/status?host=b&output=text"), http.StatusNotFound, `{"status":"No netlab-managed labs\n"}`)
	b.is(b.get("/status/7"), http.StatusOK, `{"nodes":{}}`)
	b.is(b.get("/status/7?output=text"), http.StatusOK, `{"status":"Lab 7\n"}`)
	b.is(b.get("/status/a%2Fb%20%C3%BC"), http.StatusOK, `{}`)
	b.is(b.get("/status/8"), http.StatusNotFound, `{"error":"Unknown lab instance 8"}`)
	b.is(b.get("/status/8?output=text"), http.StatusNotFound, `{"error":"Unknown lab instance 8"}`)
	// Nothing that no lab is called is asked for, an option of Netlab's above all.
	b.is(b.get("/status/--reset"), http.StatusNotFound, `{"error":"Unknown lab instance --reset"}`)
	b.is(b.get("/status/%00"), http.StatusNotFound, `{"error":"Unknown lab instance \u0000"}`)
	b.is(b.get("/status/%FF"), http.StatusNotFound, "{\"error\":\"Unknown lab instance \uFFFD\"}")

	b.isError(b.get("/status?output=yaml"), http.StatusBadRequest, `output: "yaml" is none: use json or text`)
	b.isError(b.get("/status?host=c"), http.StatusNotFound, `host: no host "c" is known`)
	b.isError(b.get("/status/9"), http.StatusServiceUnavailable, "host a: unexpected question")
	b.isError(b.get("/status/x"), http.StatusServiceUnavailable, "host a: its answer cannot be read")
}

func TestStatusOutputByDefaultText(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.DefaultHost, c.StatusOutput = "a", "text" })
	b.online(hostNamed("a"))
	b.playStatus("a", map[string]string{allLabs: `{"found":true,"labs":{}}`, allLabsText: `{"found":true,"text":"table"}`})
	b.is(b.get("/status"), http.StatusOK, `{"status":"table"}`)
	b.is(b.get("/status?output=json"), http.StatusOK, `{}`)
}

func TestStatusOfTheFleet(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.is(b.get("/status"), http.StatusOK, `{"hosts":{}}`)
	for _, name := range []string{"busy", "dead", "empty", "broken", "slow"} {
		b.online(hostNamed(name))
	}
	b.playStatus("busy", map[string]string{allLabs: `{"found":true,"labs":{"1":{}}}`, allLabsText: `{"found":true,"text":"table"}`})
	b.playStatus("empty", map[string]string{allLabs: `{"found":false,"labs":{"warning":"none"}}`, allLabsText: `{"found":false}`})
	b.playStatus("broken", nil)
	b.answer("slow", "status", func(ctx context.Context, question string) (string, error) {
		if strings.HasPrefix(question, "{") {
			<-ctx.Done()
		}
		return "{}", nil
	})

	got := b.get("/status")
	type entry struct{ Labs, Status, Error any }
	entries := decode[struct{ Hosts map[string]entry }](t, got.body).Hosts
	want := map[string]entry{
		"busy":   {Labs: map[string]any{"1": map[string]any{}}},
		"empty":  {Labs: map[string]any{}},
		"dead":   {Error: "the host does not answer: no worker listens as dead"},
		"broken": {Error: "host broken: unexpected question " + allLabs},
		"slow":   {Error: "the host does not answer: no answer from slow in time"},
	}
	if diff := cmp.Diff(want, entries); got.status != http.StatusOK || diff != "" {
		t.Errorf("%d %s", got.status, diff)
	}
	entries = decode[struct{ Hosts map[string]entry }](t, b.get("/status?output=text").body).Hosts
	if diff := cmp.Diff(map[string]entry{"busy": {Status: "table"}, "empty": {Status: "No netlab-managed labs\n"}},
		map[string]entry{"busy": entries["busy"], "empty": entries["empty"]}); diff != "" {
		t.Error(diff)
	}
	b.is(b.get("/status?host=busy"), http.StatusOK, `{"1":{}}`)
	b.isError(b.get("/status?host=dead"), http.StatusServiceUnavailable, "no worker listens as dead")
	b.isError(b.get("/status/1"), http.StatusBadRequest, "host: is missing", "?host=")
	b.isError(b.get("/templates"), http.StatusBadRequest, "host: is missing", "?host=")

	b.server.Stop()
	b.eventually("the loss of the bus", func() bool { return !b.bus.Connected() })
	got = b.get("/status")
	entries = decode[struct{ Hosts map[string]entry }](t, got.body).Hosts
	if got.status != http.StatusOK || len(entries) != len(want) || entries["busy"].Error != "the bus is unavailable: not connected" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Slow hosts together take no longer than the slowest.
func TestFleetIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		b.online(hostNamed(name))
		all.Add(1)
		b.answer(name, "status", func(_ context.Context, question string) (string, error) {
			if question == allLabs {
				all.Done()
				all.Wait() // until every host has been asked
			}
			return `{"found":false}`, nil
		})
	}
	b.is(b.get("/status"), http.StatusOK, `{"hosts":{"a":{"labs":{}},"b":{"labs":{}},"c":{"labs":{}}}}`)
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	b.answer("a", "templates", func(_ context.Context, question string) (string, error) {
		switch question {
		case `{"dir":""}`:
			return `{"templates":[{"name":"x.yml","path":"x.yml"}]}`, nil
		case `{"dir":"labs/b gp"}`:
			return `{"templates":null}`, nil
		default:
			return "", errors.New(question + ": no such directory")
		}
	})
	b.is(b.get("/templates?host=a"), http.StatusOK, `{"templates":[{"name":"x.yml","path":"x.yml"}]}`)
	b.is(b.get("/templates?host=a&dir="), http.StatusOK, `{"templates":[{"name":"x.yml","path":"x.yml"}]}`)
	b.is(b.get("/templates?host=a&dir=./labs//b%20gp/"), http.StatusOK, `{"templates":[]}`)
	b.isError(b.get("/templates?host=a&dir=other"), http.StatusNotFound, "dir: host a: ", "no such directory")
	for _, dir := range []string{"/", "/etc", "..", "labs/..", "../x", "a/../b", "labs%2F..%2F..", "%00", "a%FF"} {
		b.isError(b.get("/templates?host=a&dir="+dir), http.StatusBadRequest, "dir: ")
	}
	b.isError(b.get("/templates?host=b"), http.StatusNotFound, `host: no host "b" is known`)
}

func TestHosts(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.is(b.get("/hosts"), http.StatusOK, `{"hosts":[]}`)
	b.online(hosts.Host{Name: "b", Slots: 4, Netlab: hosts.Netlab{Error: "no Netlab: install it"}})
	lease := b.online(hosts.Host{Name: "a", Labels: map[string]string{"rack": "1"}, Netlab: hosts.Netlab{Version: "26.10"}})
	if err := lease.Release(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.eventually("the host to leave", func() bool { h, _ := b.view.Host("a"); return !h.Online })
	got := decode[struct{ Hosts []hosts.Host }](t, b.get("/hosts").body).Hosts
	want := b.view.Hosts()
	want[1].Labels = map[string]string{}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 2 {
		t.Error(diff)
	}
}
