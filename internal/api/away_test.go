package api

import (
	"bufio"
	"net/http"
	"strconv"
	"testing"

	"netlab-runner/internal/jobs"
)

// While the bus is away what is known is answered, with how old it is, and what only the bus can tell is not denied.
func TestWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.submit(`{"action":"create","workdir":"/home/lab/one"}`)
	p.move(jobs.Start)
	p.write("one\ntwo\n")
	path := "/jobs/" + p.ID + "/log"
	b.eventually("the log to come", func() bool { return b.logs.Get(p.ID).Size() == 8 })
	if got := b.get("/jobs").header.Get("Age"); got != "" {
		t.Errorf("Age: %s of a bus that is there", got)
	}
	b.isError(b.get(path+"?offset=9", "Accept: application/json"), http.StatusRequestedRangeNotSatisfiable, "past the end")

	b.server.Stop()
	b.eventually("an age", func() bool { return b.get("/jobs").header.Get("Age") != "" })
	for _, path := range []string{"/jobs", "/jobs/" + p.ID, path + "?follow=false", "/hosts"} {
		got := b.get(path)
		if age, err := strconv.Atoi(got.header.Get("Age")); got.status != http.StatusOK || err != nil || age < 1 || age > 60 {
			t.Errorf("%s: %d, Age: %s", path, got.status, got.header.Get("Age"))
		}
	}
	if got := b.get("/openapi.json").header.Get("Age"); got != "" {
		t.Errorf("Age: %s of a document", got)
	}
	// Another API may have had more of the log.
	behind := b.get(path+"?offset=9", "Accept: application/json")
	if b.isError(behind, http.StatusServiceUnavailable, "is behind"); behind.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for _, form := range []string{"text/plain", "text/event-stream"} {
		held := b.open(path+"?offset=9", "Accept: "+form)
		if held.status != http.StatusOK {
			t.Errorf("%s: %d", form, held.status)
		}
		if form == "text/plain" {
			// It has all up to the offset by now, and goes on.
			if err := b.logs.Get(p.ID).Append(8, []byte("3\nfour\n")); err != nil {
				t.Fatal(err)
			}
			if got, err := bufio.NewReader(held.body).ReadString('\n'); err != nil || got != "\n" {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
}
