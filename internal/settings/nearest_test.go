package settings

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"NETLAB_API_PORT", "NETLAB_API_PASSWORD", "NETLAB_API_TLS_CERT", "NETLAB_API_DATA_DIR", "NETLAB_API_AUTH_USER"}
	for name, want := range map[string]string{
		"NETLAB_API_PROT":      "NETLAB_API_PORT",
		"NETLAB_API_PASSWD":    "NETLAB_API_PASSWORD",
		"NETLAB_API_TLSCERT":   "NETLAB_API_TLS_CERT",
		"NETLAB_API_CERT":      "NETLAB_API_TLS_CERT",
		"NETLAB_API_USER":      "NETLAB_API_AUTH_USER",
		"NETLAB_API_DATADIR":   "NETLAB_API_DATA_DIR",
		"NETLAB_API_FREQUENCY": "",
	} {
		if got := nearest(name, known, "NETLAB_API_"); got != want {
			t.Errorf("nearest to %s is %q, want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"ab", "abc", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
