package fetch

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// TestOwnAddress is inside the package for the addresses of a host that the test's own has not.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	own := []netip.Addr{netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("2606:2800:21f::1")}
	network := []netip.Prefix{netip.MustParsePrefix("93.184.215.0/24")}
	for _, test := range []struct {
		addr     string
		networks []netip.Prefix
		want     bool
	}{
		{"93.184.215.15", nil, true},
		{"93.184.215.14", nil, false},
		{"2606:2800:21f::1", nil, false},
		{"::ffff:93.184.215.14", nil, false},
		{"::ffff:93.184.215.14", network, true},
		{"2606:2800:21f::2", nil, true},
		{"93.184.215.14", network, true},
		{"2606:2800:21f::2%eth0", nil, false},
		{"10.0.0.1", network, false},
	} {
		if got := allowed(netip.MustParseAddr(test.addr), test.networks, own); got != test.want {
			t.Errorf("%s, allowed %v: %v, want %v", test.addr, test.networks, got, test.want)
		}
	}
	addrs, err := ownAddresses()
	if err != nil || len(addrs) == 0 {
		t.Errorf("this host has the addresses %v, %v", addrs, err)
	}
}

// TestRedirectTo is inside the package because no server of a test has a certificate that its host trusts.
func TestRedirectTo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, location, want string }{
		{"https://a.example/x/y?q", "z", "https://a.example/x/z"},
		{"https://a.example/x", "//b.example/z", "https://b.example/z"},
		{"http://a.example/x", "https://b.example/z", "https://b.example/z"},
		{"https://a.example/x", "http://a.example/x", ""},
		{"https://a.example/x", "HTTP://a.example/x", ""},
	} {
		from, err := url.Parse(test.from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := redirect(from, test.location)
		switch {
		case test.want == "":
			if err == nil || !strings.Contains(err.Error(), "from https to http") {
				t.Errorf("%s to %s: %v, %v", test.from, test.location, to, err)
			}
		case err != nil || to.String() != test.want:
			t.Errorf("%s to %s: %v, %v", test.from, test.location, to, err)
		}
	}
}

// TestPlain has what a certificate may be made out to.
func TestPlain(t *testing.T) {
	t.Parallel()
	got := plain(errors.New("valid for a\x1b[2J\n\u202e\xff, not b" + strings.Repeat("ü", 200)))
	if want := "valid for a [2J  ?, not b" + strings.Repeat("ü", 87); got != want+"…" {
		t.Errorf("%q", got)
	}
}
