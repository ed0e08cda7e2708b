package e2e_test

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"netlab-runner/test/certificate"
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
	certFile, keyFile, _ := certificate.MakeNamed(t, "elsewhere.example")
	return []string{"NETLAB_API_TLS_CERT=" + certFile, "NETLAB_API_TLS_KEY=" + keyFile}
}
