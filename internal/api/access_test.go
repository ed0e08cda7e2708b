package api

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func basic(credentials string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

func TestAccess(t *testing.T) {
	t.Parallel()
	both := setup(t, func(c *Config) { c.User, c.Password, c.Token = "jörg", "pä:ss wörd€", "to.ken==" })
	onlyToken := setup(t, func(c *Config) { c.Token = "to.ken==" })
	latin := setup(t, func(c *Config) { c.User, c.Password = "jörg", "wörd" })
	for name, test := range map[string]struct {
		b      *testBundle
		header []string
		status int
	}{
		"nothing":             {both, nil, 401},
		"basic":               {both, []string{basic("jörg:pä:ss wörd€")}, 200},
		"basic, lower case":   {both, []string{"Authorization: basic  " + basic("jörg:pä:ss wörd€")[21:]}, 200},
		"token":               {both, []string{"Authorization: Bearer to.ken=="}, 200},
		"token, upper case":   {both, []string{"Authorization: BEARER to.ken=="}, 200},
		"wrong token":         {both, []string{"Authorization: Bearer to.ken="}, 401},
		"no token":            {both, []string{"Authorization: Bearer"}, 401},
		"token as basic":      {both, []string{"Authorization: Basic to.ken=="}, 401},
		"basic as token":      {both, []string{"Authorization: Bearer jörg:pä:ss wörd€"}, 401},
		"wrong user":          {both, []string{basic("jorg:pä:ss wörd€")}, 401},
		"wrong password":      {both, []string{basic("jörg:pä:ss wörd")}, 401},
		"no colon":            {both, []string{basic("jörg")}, 401},
		"empty":               {both, []string{basic(":")}, 401},
		"bad base64":          {both, []string{"Authorization: Basic ???"}, 401},
		"bare bytes":          {both, []string{"Authorization: Basic \xff\xfe"}, 401},
		"another scheme":      {both, []string{"Authorization: Digest a=b"}, 401},
		"empty header":        {both, []string{"Authorization: "}, 401},
		"basic without any":   {onlyToken, []string{basic(":")}, 401},
		"only the token":      {onlyToken, []string{"Authorization: Bearer to.ken=="}, 200},
		"bearer without any":  {latin, []string{"Authorization: Bearer "}, 401},
		"Latin-1":             {latin, []string{basic("j\xf6rg:w\xf6rd")}, 200},
		"Latin-1, wrong word": {latin, []string{basic("j\xf6rg:w\xf6rt")}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.b.get("/jobs", test.header...)
			if got.status != test.status {
				t.Errorf("got %d %s, want %d", got.status, got.body, test.status)
			}
			if test.status == http.StatusUnauthorized {
				test.b.in(t).is(got, http.StatusUnauthorized, `{"error":"unauthorized"}`)
			}
		})
	}
	want := []string{`Basic realm="netlab-api", charset="UTF-8"`, `Bearer realm="netlab-api"`}
	if diff := cmp.Diff(want, both.get("/jobs").header["Www-Authenticate"]); diff != "" {
		t.Error(diff)
	}
	// Whoever has no credentials does not learn which routes there are.
	for _, r := range []struct{ method, path string }{
		{"GET", "/nothing"},
		{"DELETE", "/jobs"},
		{"POST", "/healthz"},
		{"POST", "/jobs"},
		{"HEAD", "/jobs"},
		{"GET", "/jobs/x/log"},
		{"GET", "//healthz"},
		{"GET", "/healthz/../jobs"},
	} {
		if got := both.do(r.method, r.path, ""); got.status != http.StatusUnauthorized {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Prefix = "/net/lab" })
	b.online(hostNamed("a"))
	p := b.submit(`{"action":"create","workdir":"/home/lab/one"}`)
	got := b.do(http.MethodPost, "/jobs/", `{"action":"create","workdir":"/home/lab/two"}`)
	if location := got.header.Get("Location"); location != "/net/lab/jobs/"+decode[struct{ ID string }](t, got.body).ID {
		t.Errorf("Location %q", location)
	}
	if got := b.get("/jobs/" + p.ID); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.url = "http://" + b.address
	for _, path := range []string{"/", "/jobs", "/jobs/" + p.ID, "/net", "/net/lab", "/net/labs/jobs", "/NET/lab/jobs"} {
		b.is(b.get(path), http.StatusNotFound, `{"error":"not found"}`)
	}
}
