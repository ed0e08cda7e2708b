package api

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The page and all that it loads come from the service, below a prefix too, to those who may see them.
func TestDocsNeedNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := prepare(t, func(c *Config) { c.Prefix, c.Token = "/net/lab", "secret" })
	b.serve()
	const authorization = "Authorization: Bearer secret"
	if got := b.get("/docs"); got.status != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", got.status)
	}
	page := b.get("/docs", authorization)
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "http") {
		t.Errorf("policy %q", policy)
	}
	references := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.body, -1)
	if len(references) != len(docsFiles)+1 {
		t.Errorf("references %q", references)
	}
	for _, r := range references {
		// What a browser makes of it.
		got := b.get("/"+r[1], authorization)
		if got.status != http.StatusOK || got.body == "" {
			t.Errorf("%s: %d", r[1], got.status)
		}
	}
	script := b.get("/docs/initializer.js", authorization)
	for _, text := range []string{page.body, script.body} {
		if strings.Contains(text, "//") && regexp.MustCompile(`https?:|["'(]//`).MatchString(text) {
			t.Errorf("leads elsewhere: %s", text)
		}
	}
	if css := b.get("/docs/swagger-ui.css", authorization).body; regexp.MustCompile(`url\((?:["']?)(?:https?:)?//`).MatchString(css) {
		t.Error("the style leads elsewhere")
	}
	// With a slash at its end the page's own references would be wrong.
	if got := b.get("/docs/", authorization); got.body != page.body {
		t.Errorf("/docs/: %d %s", got.status, got.body)
	}
	if got := b.get("/docs/other.js", authorization); got.status != http.StatusNotFound {
		t.Errorf("other.js: %d", got.status)
	}
}

// A client that unpacks nothing gets a file as it is.
func TestDocsFilesAreUnpacked(t *testing.T) {
	t.Parallel()
	b := prepare(t, nil)
	b.serve()
	for _, test := range []struct{ accept, coding, begin string }{
		{"identity", "", "."},
		{"gzip", "gzip", "\x1f\x8b"},
	} {
		got := b.get("/docs/swagger-ui.css", "Accept-Encoding: "+test.accept)
		if got.header.Get("Content-Encoding") != test.coding || !strings.HasPrefix(got.body, test.begin) {
			t.Errorf("%s: %q %.20q", test.accept, got.header.Get("Content-Encoding"), got.body)
		}
	}
}
