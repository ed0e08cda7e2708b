package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/certificate"
)

// The bus for several hosts that operators are given: the programs work over TLS with a key each, and whoever may only subscribe sees
// the jobs and can do nothing else.
func TestTheBusOfSeveralHosts(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.port = freePort(t)
	cert, key, _ := certificate.Make(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats-server-hosts.conf"))
	if err != nil {
		t.Fatal(err)
	}
	replaced := []string{
		"0.0.0.0:4222", "127.0.0.1:" + f.port, "/etc/netlab-runner/bus.pem", cert, "/etc/netlab-runner/bus.key", key, "/var/lib/nats", f.path("nats"),
	}
	for _, who := range []string{"API", "WORKER", "SUBSCRIBER"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path(who), seed, 0o600); err != nil {
			t.Fatal(err)
		}
		replaced = append(replaced, "PUBLIC_KEY_OF_THE_"+who, public, "PUBLIC_KEY_OF_A_"+who, public)
	}
	config := f.path("nats.conf")
	if err := os.WriteFile(config, []byte(strings.NewReplacer(replaced...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := once(t, "nats-server", nil, "-t", "-c", config); code != 0 {
		t.Fatalf("nats-server -t: exit code %d, %s", code, out)
	}
	server := launch(t, "nats-server", nil, "-c", config)
	server.expect("Server is ready")

	f.busURL = "tls://127.0.0.1:" + f.port
	a := f.startAPI(append(f.apiEnvironment("one"), "NETLAB_BUS_CREDS="+f.path("API"), "NETLAB_BUS_CA="+cert))
	f.extra = []string{"NETLAB_BUS_CREDS=" + f.path("WORKER"), "NETLAB_BUS_CA=" + cert}
	f.startWorker("alpha")
	a.awaitReady(1)

	asSubscriber, err := nats.NkeyOptionFromSeed(f.path("SUBSCRIBER"))
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 10)
	subscriber, err := nats.Connect(f.busURL, asSubscriber, nats.Timeout(patience), nats.RootCAs(cert), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer subscriber.Close()
	seen, err := subscriber.SubscribeSync("netlab.jobs.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := subscriber.Flush(); err != nil {
		t.Fatal(err)
	}
	job, _ := a.run(t, jobs.Success, object{"action": "create", "workdir": f.lab("x", "external")})
	for state := ""; state != "netlab.job.success"; {
		m, err := seen.NextMsg(patience)
		if err != nil {
			t.Fatalf("the end is not seen: %v", err)
		}
		state = m.Header.Get("ce-type")
	}

	for _, subject := range []string{"netlab.in.alpha.x.request", "netlab.jobs.alpha." + job.ID + ".status", "netlab.hosts.alpha.status", "$JS.API.STREAM.DELETE.NETLAB_JOBS"} {
		if err := subscriber.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v", subject, err)
		}
	}
	for _, subject := range []string{"netlab.in.>", "netlab.put.>", "netlab.objects.>", "_INBOX.>", ">"} {
		if _, err := subscriber.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("subscribe to %s: %v", subject, err)
		}
	}
	if _, err := nats.Connect(f.busURL, nats.Timeout(patience), nats.RootCAs(cert)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a key: %v", err)
	}
}
