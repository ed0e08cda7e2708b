package jobs_test

import (
	"strings"
	"testing"
)

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
			if got := parse(t, payload).Request.TopologyURL; got != strings.TrimSpace(url) {
				t.Errorf("%s: kept as %s", url, got)
			}
			continue
		}
		got := faults(t, payload)
		if len(got) != 1 || got[0].Field != "topologyUrl" || !strings.Contains(got[0].Text, want) {
			t.Errorf("%s: got %+v, want %q", url, got, want)
		}
		if strings.Contains(got[0].Text, "hunter22") {
			t.Errorf("the fault shows the password: %s", got[0].Text)
		}
	}
}
