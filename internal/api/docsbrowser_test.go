package api

import (
	"html"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A real browser, where there is one, shows every operation, and asks no other host for anything: the page's policy would say
// so on its console.
func TestDocsInABrowser(t *testing.T) {
	t.Parallel()
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium on this machine (Debian, Ubuntu: apt install chromium)")
	}
	b := setup(t, func(c *Config) { c.Prefix = "/net/lab" })
	args := []string{
		"--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=20000",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom", b.url + "/docs",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	run := exec.CommandContext(b.ctx, browser, args...)
	var console strings.Builder
	run.Stderr = &console
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, console.String())
	}
	shown := html.UnescapeString(string(out))
	for _, o := range b.contract().Operations() {
		if !strings.Contains(shown, `data-path="`+o.Path+`"`) {
			t.Errorf("the page does not show %s", o)
		}
	}
	for line := range strings.Lines(console.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("on the console: %s", line)
		}
	}
}
