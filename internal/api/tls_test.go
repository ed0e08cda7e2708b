package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/certificate"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate.Make(t)
	b := prepare(t, func(c *Config) {
		c.TLSCert, c.TLSKey, c.Heartbeat, c.BodyLimit = cert, key, 20*time.Millisecond, 64<<10
	})
	b.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	b.follow()
	b.serve()
	b.url = "https://" + b.address
	b.online(hostNamed("a"))
	p := b.running()
	p.write("line\n")
	resp := b.open("/jobs/"+p.ID+"/log", "Accept: */*")
	if line, err := resp.body.ReadString('\n'); err != nil || line != "line\n" {
		t.Errorf("%q, %v", line, err)
	}
	resp.close()
	b.idle()

	conn := tls.Client(b.connect(), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	b.isError(raw(t, conn, "POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n"+strings.Repeat("x", 8<<20)), http.StatusRequestEntityTooLarge, "body")

	other := New(Config{TLSCert: key, TLSKey: key})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Serve(l); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("with a key for a certificate: %v", err)
	}
}
