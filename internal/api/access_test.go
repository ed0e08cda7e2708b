package api

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	either := setup(t, func(c *Config) { c.User, c.Password = "lab", "Ã¼" }) // in Latin-1 the bytes of ü in UTF-8
	bare := setup(t, func(c *Config) { c.User, c.Password = "lab", "\xe4" }) // as a locale of Latin-1 sets it
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
		"both, in UTF-8":      {either, []string{basic("lab:Ã¼")}, 200},
		"both, in Latin-1":    {either, []string{basic("lab:\xc3\xbc")}, 200},
		"both, another":       {either, []string{basic("lab:\xfc")}, 401},
		"bare, in UTF-8":      {bare, []string{basic("lab:ä")}, 200},
		"bare, in Latin-1":    {bare, []string{basic("lab:\xe4")}, 200},
		"a NUL":               {latin, []string{basic("jörg:w\x00rd")}, 401},
		"a NUL behind it":     {latin, []string{basic("jörg:wörd\x00")}, 401},
		"a line end":          {latin, []string{basic("jörg:wörd\n")}, 401},
		"a tab between":       {latin, []string{strings.Replace(basic("jörg:wörd"), "Basic ", "Basic\t", 1)}, 401},
		"not padded":          {latin, []string{strings.TrimRight(basic("jörg:wörd"), "=")}, 401},
		"something behind":    {latin, []string{basic("jörg:wörd") + " more"}, 401},
		"a list":              {latin, []string{basic("jörg:wörd") + ", Bearer x"}, 401},
		"a very long one":     {latin, []string{basic(strings.Repeat("x", 8<<10))}, 401},
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
		{"HEAD", "/nothing"},
		{"OPTIONS", "/jobs"},
		{"OPTIONS", "/nothing"},
		{"TRACE", "/jobs"},
		{"GET", "/jobs/%00"},
	} {
		if got := both.do(r.method, r.path, ""); got.status != http.StatusUnauthorized {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
	}
}

// Who is refused may try again on the same connection, whatever the method.
func TestRefusedKeepTheirConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.User, c.Password = "lab", "secret" })
	conn := b.connect()
	answers := bufio.NewReader(conn)
	for range 3 {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"} {
			if _, err := fmt.Fprintf(conn, "%s /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n%s\r\n\r\n{}", method, basic("lab:wrong")); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if want := map[bool]string{false: "{\"error\":\"unauthorized\"}\n"}[method == "HEAD"]; err != nil || resp.StatusCode != http.StatusUnauthorized || string(body) != want ||
				resp.Close || len(resp.Header["Www-Authenticate"]) != 1 || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %v %q, %v", method, resp.StatusCode, resp.Header, body, err)
			}
		}
	}
	if got := raw(t, conn, "GET /jobs HTTP/1.1\r\nHost: a\r\n"+basic("lab:secret")+"\r\n\r\n"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
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
