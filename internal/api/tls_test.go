package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
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

// certificate makes a certificate of 127.0.0.1 by itself.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}
