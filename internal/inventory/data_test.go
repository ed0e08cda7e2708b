package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	text := `
1:
  dir: /labs/one
  timestamp: 2026-11-26 01:31:14.770416+00:00
  log: &log
  - 'a: b'
  again: *log
  numbers: [1, -2, 0x10, 1.5, .inf, .nan, 18446744073709551615, 99999999999999999999]
  words: [yes, true, ~, null, "null", !custom x, !!binary aGk=]
`
	value, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"1": map[string]any{
		"dir": "/labs/one", "timestamp": "2026-11-26 01:31:14.770416+00:00",
		"log": []any{"a: b"}, "again": []any{"a: b"},
		"numbers": []any{1, -2, 16, 1.5, ".inf", ".nan", uint64(18446744073709551615), 99999999999999999999.0},
		"words":   []any{"yes", true, nil, nil, "null", "x", "aGk="},
	}}
	if diff := cmp.Diff(want, value); diff != "" {
		t.Errorf("it differs:\n%s", diff)
	}
	if _, err := json.Marshal(value); err != nil {
		t.Errorf("as JSON: %v", err)
	}
}

// TestParseOfBombs has what would take memory or time without end.
func TestParseOfBombs(t *testing.T) {
	t.Parallel()
	laughs := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	long := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 1000) + "]\n"
	for name, text := range map[string]string{
		"aliases of aliases":  laughs,
		"aliases of a text":   long,
		"an alias of itself":  "a: &a [*a]\n",
		"a map in itself":     "a: &a {b: *a}\n",
		"lists in lists":      strings.Repeat("[", 200) + strings.Repeat("]", 200),
		"open lists":          strings.Repeat("[", 200_000),
		"open maps":           strings.Repeat("{", 200_000),
		"dashes":              strings.Repeat("- ", 200_000),
		"questions":           strings.Repeat("? ", 200_000),
		"commas":              "[" + strings.Repeat("a,", largestStatus/2-1) + "]",
		"a key that is a map": "{a: b}: c\n",
		"an anchor unknown":   "a: *nobody\n",
		"control characters":  "a: \x00\n",
	} {
		begin := time.Now()
		if value, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: is read as a %T", name, value)
		}
		if took := time.Since(begin); took > limit {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain text, ünï": "plain text, ünï",
		"a\x1b[31mb\nc":   "a\uFFFD[31mb\uFFFDc",
		"a\u202eb\u2028c": "a\uFFFDb\uFFFDc",
		"a\xffb":          "a\uFFFDb",
	} {
		if got := shown(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := shown(strings.Repeat("ü", 1000)); len(got) > 310 || !strings.HasSuffix(got, "ü…") {
		t.Errorf("a long text is shown as %q", got)
	}
}

func TestParseTopology(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want *topology
	}{
		"whole": {
			`{name: ml-5, prefix: "clab", mgmt: {network: nl_mgmt_5, bridge: nl_b, ipv4-subnet: 192.168.5.0/24}, topology: {nodes: {
				r1: {kind: linux, mgmt-ipv4: 192.168.5.101/24}, r2: {}, br: {kind: bridge}, ovs: {kind: ovs-bridge}, h: {kind: host}}}}`,
			&topology{
				name: "ml-5", network: Network{"nl_mgmt_5", "nl_b", "192.168.5.0/24"}, containers: []string{"clab-ml-5-r1", "clab-ml-5-r2"},
				addresses: []string{"192.168.5.101"}, bridges: []string{"br", "ovs"},
			},
		},
		"little":      {`{name: 7, topology: {nodes: {r1: null}}}`, &topology{name: "7", network: Network{"clab", "", "172.20.20.0/24"}, containers: []string{"clab-7-r1"}}},
		"no prefix":   {`{name: x, prefix: "", topology: {nodes: {r1: {}}}}`, &topology{name: "x", network: Network{"clab", "", "172.20.20.0/24"}, containers: []string{"r1"}}},
		"lab prefix":  {`{name: x, prefix: __lab-name, topology: {nodes: {r1: {}}}}`, &topology{name: "x", network: Network{"clab", "", "172.20.20.0/24"}, containers: []string{"x-r1"}}},
		"odd shapes":  {`{name: x, mgmt: 7, topology: [1]}`, &topology{name: "x", network: Network{"clab", "", "172.20.20.0/24"}}},
		"no name":     {`{topology: {}}`, nil},
		"a list":      {`[name]`, nil},
		"bad name":    {`{name: "a\nb"}`, nil},
		"bad subnet":  {`{name: x, mgmt: {ipv4-subnet: here}, topology: {nodes: {r1: {}}}}`, nil},
		"bad address": {`{name: x, topology: {nodes: {r1: {mgmt-ipv4: there}}}}`, nil},
	}
	for name, test := range tests {
		got, err := parseTopology([]byte(test.text))
		if (err == nil) != (test.want != nil) {
			t.Errorf("%s: %+v, %v", name, got, err)
		} else if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(topology{})); err == nil && diff != "" {
			t.Errorf("%s differs:\n%s", name, diff)
		}
	}
}
