package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netlab-runner/test/clients"
)

// setting is what the API's environment has of a setting, the last one if there are more.
func (a *api) setting(name string) (value string) {
	for _, entry := range a.env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// reach takes in how the API at the address is reached: by TLS or not, below which path, with which credentials.
func (a *api) reach(address string) {
	a.base = "http://" + address + a.setting("NETLAB_API_PREFIX")
	if a.setting("NETLAB_API_TLS_CERT") != "" {
		a.base = "https" + strings.TrimPrefix(a.base, "http")
		a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		a.t.Cleanup(a.client.CloseIdleConnections)
	}
	s := a.asBasic()
	switch token := a.setting("NETLAB_API_TOKEN"); {
	case token != "":
		a.header = []string{"Authorization", "Bearer " + token}
	case s.User != "":
		a.header = []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(s.User+":"+s.Password))}
	}
}

// asBasic and asBearer are the API for a client with a user's name and password, and for one with the token.
func (a *api) asBasic() clients.Server {
	return clients.Server{URL: a.base, User: a.setting("NETLAB_API_USER"), Password: a.setting("NETLAB_API_PASSWORD")}
}

func (a *api) asBearer() clients.Server {
	return clients.Server{URL: a.base, Token: a.setting("NETLAB_API_TOKEN")}
}

// selfSigned makes a certificate that nobody trusts, and of another name, as settings.
func selfSigned(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"elsewhere.example"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if err := errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return []string{"NETLAB_API_TLS_CERT=" + certFile, "NETLAB_API_TLS_KEY=" + keyFile}
}
