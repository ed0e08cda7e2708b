package jobs_test

import (
	"errors"
	"strings"
	"testing"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// anyRoot is a host that takes every working directory and allows no internal network.
var anyRoot = hosts.Host{Name: "h1", Roots: []string{"/"}}

// placeFaults are what is wrong with a payload, or with it on a host that allows no internal network.
func placeFaults(t *testing.T, payload string) []jobs.Fault {
	t.Helper()
	p, err := jobs.ParsePayload([]byte(payload))
	if err == nil {
		_, err = p.Place(anyRoot)
	}
	var invalid *jobs.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("%s: accepted (%v)", payload, err)
	}
	return invalid.Faults
}

// A host may allow internal networks, and then those alone.
func TestTopologyURLInAnAllowedNetwork(t *testing.T) {
	t.Parallel()
	h := hosts.Host{Name: "h1", Roots: []string{"/"}, URLNetworks: []string{"10.1.0.0/16", "127.0.0.0/8", "no network", "fd00::/8"}}
	for url, allowed := range map[string]bool{
		"http://10.1.2.3/t.yml": true, "http://localhost/": true, "http://[fd00::1]/": true, "http://0x7f.1/": true,
		"http://[::ffff:10.1.0.1]/": true, "http://example.com/": true,
		"http://10.2.0.1/": false, "http://[fe80::1]/": false, "http://192.168.0.1/": false, "http://169.254.169.254/": false,
	} {
		_, err := parse(t, body(`"topologyUrl":`+quoted(url))).Place(h)
		if (err == nil) != allowed {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The query of a URL may be a secret: it is not shown.
func TestTopologyURLIsShownWithoutItsQuery(t *testing.T) {
	t.Parallel()
	p := parse(t, body(`"topologyUrl":"https://example.com/a/t.yml?token=hunter22#frag"`))
	if p.Request.TopologyURL != "https://example.com/a/t.yml" || p.TopologyURL != "https://example.com/a/t.yml?token=hunter22#frag" {
		t.Errorf("shown as %s, kept as %s", p.Request.TopologyURL, p.TopologyURL)
	}
}

func TestTopologyURL(t *testing.T) {
	t.Parallel()
	const internal, badV4 = "internal address", "IPv4 address that is not valid"
	for url, want := range map[string]string{
		"https://example.com/t.yml":           "",
		"http://example.com:8080/a/t.yml?x=y": "",
		"HTTPS://EXAMPLE.com":                 "",
		"https://8.8.8.8/t.yml":               "",
		"https://134744072/t.yml":             "", // 8.8.8.8
		"https://[2606:4700::1111]/t.yml":     "",
		"https://example.com./t.yml":          "",
		"https://1.example/t.yml":             "",
		"https://0xyz/t.yml":                  "",
		"https://xn--bcher-kva.example/t.yml": "",
		"https://[64:ff9b::808:808]/t.yml":    "",
		"https://172.32.0.1/":                 "",
		"https://localhost.example.com/":      "",

		"ftp://example.com/t.yml":              "must begin with http:// or https://",
		"file:///etc/passwd":                   "must begin with http:// or https://",
		"example.com/t.yml":                    "must begin with http:// or https://",
		"//example.com/t.yml":                  "must begin with http:// or https://",
		"https://":                             "names no host",
		"https:///t.yml":                       "names no host",
		"https:t.yml":                          "names no host",
		"https://:80/t.yml":                    "names no host",
		"https://user@example.com/":            "user or password",
		"https://u:hunter22@example.com":       "user or password",
		"https://example.com:0/":               "port",
		"https://example.com:70000/":           "port",
		"https://example.com:x/":               "not a URL",
		"https://exa mple.com/":                "has a space",
		"https://example.com/\t":               "", // trimmed
		"https://example.com/\n.yml":           "control character",
		`https://example.com\@10.0.0.1/`:       `'\'`,
		"https://%31%30.0.0.1/":                "not a URL",
		"https://bücher.example/":              "punycode",
		"https://１２７.0.0.1/":                   "punycode",
		"https://127。0。0。1/":                   "punycode",
		"https://[::1":                         "not a URL",
		"https://[::zz]/":                      "not",
		"https://" + strings.Repeat("x", 2048): "2048",

		"http://127.0.0.1/":                  internal,
		"http://127.0.0.1./":                 internal,
		"http://127.1/":                      internal,
		"http://127.0.1/":                    internal,
		"http://2130706433/":                 internal,
		"http://017700000001/":               internal,
		"http://0x7f000001/":                 internal,
		"http://0X7F.1/":                     internal,
		"http://0177.0.0.1/":                 internal,
		"http://0x7f.0.0x0.01/":              internal,
		"http://0/":                          internal,
		"http://0x/":                         internal,
		"http://0.0.0.0/":                    internal,
		"http://10.1.2.3/":                   internal,
		"http://167772161/":                  internal,
		"http://172.16.0.1/":                 internal,
		"http://192.168.0.1/":                internal,
		"http://192.168.1/":                  internal,
		"http://100.64.0.1/":                 internal,
		"http://169.254.169.254/latest":      internal,
		"http://2852039166/":                 internal,
		"http://224.0.0.1/":                  internal,
		"http://255.255.255.255/":            internal,
		"http://localhost/":                  internal,
		"http://LOCALHOST:80/":               internal,
		"http://localhost./":                 internal,
		"http://a.localhost/":                internal,
		"http://[::]/":                       internal,
		"http://[::1]/":                      internal,
		"http://[::127.0.0.1]/":              internal,
		"http://[::ffff:127.0.0.1]/":         internal,
		"http://[::ffff:7f00:1]/":            internal,
		"http://[0:0:0:0:0:ffff:0a00:0001]/": internal,
		"http://[fe80::1%25eth0]/":           internal,
		"http://[2606:4700::1111%25eth0]/":   internal,
		"http://[fe80::1]/":                  internal,
		"http://[fec0::1]/":                  internal,
		"http://[fd00::1]/":                  internal,
		"http://[ff02::1]/":                  internal,
		"http://[64:ff9b::7f00:1]/":          internal,
		"http://[64:ff9b:1::1]/":             internal,
		"http://[2002:7f00:1::]/":            internal,
		"http://[2001:0:1::1]/":              internal,

		"http://256.1.1.1/":   badV4,
		"http://1.2.3.4.5/":   badV4,
		"http://4294967296/":  badV4,
		"http://0x100000000/": badV4,
		"http://08/":          badV4,
		"http://1..1/":        badV4,
		"http://127.0.0.x.0/": badV4,
		"http://1.2.3.256/":   badV4,
		"http://1.16777216/":  badV4,
	} {
		payload := body(`"topologyUrl":` + quoted(url))
		if want == "" {
			p := parse(t, payload)
			if p.TopologyURL != strings.TrimSpace(url) {
				t.Errorf("%s: kept as %s", url, p.TopologyURL)
			}
			if _, err := p.Place(anyRoot); err != nil {
				t.Errorf("%s: %v", url, err)
			}
			continue
		}
		got := placeFaults(t, payload)
		if len(got) != 1 || got[0].Field != "topologyUrl" || !strings.Contains(got[0].Text, want) {
			t.Errorf("%s: got %+v, want %q", url, got, want)
		}
		if strings.Contains(got[0].Text, "hunter22") {
			t.Errorf("the fault shows the password: %s", got[0].Text)
		}
	}
}
