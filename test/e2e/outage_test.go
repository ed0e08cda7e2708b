package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/clients"
)

// Clients that give up at the first error look at a job while the bus, its worker, and the worker's bus are away and come back.
// None gets an error, and all see the whole log.
func TestClientsThroughAnOutage(t *testing.T) {
	t.Parallel()
	f := split(t, "NETLAB_API_USER=anna", "NETLAB_API_PASSWORD=geheim", "NETLAB_API_STATUS_OUTPUT=text")
	a := f.any()
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	dir := f.chatter("outage", object{"lines": 50, "gate": "gate"})
	printed := make(chan string, 1000)
	script := &clients.Script{Server: a.asBasic(), Every: 10 * time.Millisecond, Print: func(added string) { printed <- added }}
	type end struct {
		o   *clients.Outcome
		err error
	}
	ends := make(chan end, 2)
	go func() {
		o, err := script.Run(ctx, object{"action": "create", "workdir": dir, "host": "alpha"})
		ends <- end{o, err}
	}()
	var seen strings.Builder
	for !strings.Contains(seen.String(), "chatter 50 of 50") {
		select {
		case added := <-printed:
			seen.WriteString(added)
		case e := <-ends:
			t.Fatalf("%+v, %v", e.o, e.err)
		case <-ctx.Done():
			t.Fatalf("the log:\n%s", seen.String())
		}
	}
	var list struct{ Jobs []struct{ ID string } }
	a.get(t, "/jobs", &list)
	id := list.Jobs[0].ID
	task := &clients.Task{Server: a.asBasic(), Every: 10 * time.Millisecond}
	go func() {
		o, err := task.Follow(ctx, id)
		ends <- end{o, err}
	}()

	// Whatever is away, so many reads one after the other are answered.
	answered := func(what string) {
		t.Helper()
		for range 20 {
			for _, path := range []string{"/healthz", "/jobs", "/jobs/" + id, "/jobs/" + id + "/log?follow=false", "/hosts", "/labs", "/status"} {
				if status, body := a.do(t, "GET", path, nil); status != 200 {
					t.Errorf("%s: GET %s: %d %s", what, path, status, body)
				}
			}
		}
	}
	f.server.stop()
	answered("without the bus")
	f.workers[0].kill()
	answered("without the bus and the worker")
	f.startServer()
	a.awaitReady(2)
	answered("without the worker")
	openGate(t, dir)
	f.startWorker("alpha")
	for range 2 {
		e := <-ends
		if e.err != nil || e.o.State != "success" || len(e.o.Missed) > 0 || startsOf(e.o.Log) != 1 || e.o.Looks < 20 {
			t.Errorf("%+v, %v", e.o, e.err)
		}
		if _, log := a.finish(t, id); e.err == nil && e.o.Log != log {
			t.Errorf("a client has %d bytes of the log, which has %d", len(e.o.Log), len(log))
		}
	}
}
