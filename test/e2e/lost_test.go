package e2e_test

import (
	"os"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

// The bus comes back with nothing: what the workers' journals and a running API know is made known to it again.
func TestTheBusLosesItsStore(t *testing.T) {
	t.Parallel()
	f := split(t)
	a := f.any()
	dir := f.chatter("lost", object{"lines": 100, "gate": "gate"})
	ended, endedLog := a.run(t, jobs.Success, object{"action": "create", "workdir": f.lab("before", "external"), "host": "beta"})
	body := object{"action": "create", "workdir": dir, "host": "alpha"}
	runs := a.submit(t, body, "Idempotency-Key", "lost")
	a.awaitLog(t, runs.ID, "chatter 100 of 100")
	queued := a.submit(t, object{"action": "create", "workdir": dir, "topology": "provider: external\nnodes:\n  r1: { device: linux }\n", "environment": object{"TOKEN": "correct-horse"}})
	f.server.kill()
	if err := os.RemoveAll(f.path("nats")); err != nil {
		t.Fatal(err)
	}
	f.startServer()
	for _, a := range f.apis {
		a.expect("making them known to it again")
		a.awaitReady(3)
	}
	again := a.submit(t, body, "Idempotency-Key", "lost")
	if again.ID != runs.ID {
		t.Errorf("the key made %s, and %s before", again.ID, runs.ID)
	}
	openGate(t, dir)
	// An API that starts now knows what the new bus has.
	fresh := f.startAPI(f.apiEnvironment("three"))
	fresh.awaitReady(3)
	for _, a := range []*api{f.apis[0], f.apis[1], fresh} {
		job, log := a.finish(t, runs.ID)
		if job.State != jobs.Success || startsOf(log) != 1 || !strings.Contains(log, "chatter 100 of 100") || f.busLog(t, runs.ID) != log {
			t.Errorf("what ran: %s %s, started %d times", job.State, text(job.Error), startsOf(log))
		}
		if job, log = a.finish(t, queued.ID); job.State != jobs.Success || startsOf(log) != 0 {
			t.Errorf("what waited: %s %s\n%s", job.State, text(job.Error), log)
		}
		if job, log = a.finish(t, ended.ID); job.State != jobs.Success || log != endedLog {
			t.Errorf("what had ended: %s, a log of %d bytes, want %d", job.State, len(log), len(endedLog))
		}
	}
	f.any().run(t, jobs.Success, object{"action": "create", "workdir": f.lab("after", "external")})
}

// One process with all in it begins anew without the store of its bus: the journal of its worker has what was under way.
func TestTheEmbeddedBusLosesItsStore(t *testing.T) {
	t.Parallel()
	f := single(t)
	dir := f.chatter("lost", object{"lines": 100, "gate": "gate"})
	runs := f.any().submit(t, object{"action": "create", "workdir": dir})
	queued := f.any().submit(t, object{"action": "create", "workdir": dir})
	f.any().awaitLog(t, runs.ID, "chatter 100 of 100")
	f.any().kill()
	if err := os.RemoveAll(f.path("data", "bus")); err != nil {
		t.Fatal(err)
	}
	f.startSingle()
	openGate(t, dir)
	for _, id := range []string{runs.ID, queued.ID} {
		f.any().awaitKnown(t, id)
		job, log := f.any().finish(t, id)
		if job.State != jobs.Success || startsOf(log) != 1 || f.busLog(t, id) != log {
			t.Errorf("%s %s, started %d times", job.State, text(job.Error), startsOf(log))
		}
	}
}
