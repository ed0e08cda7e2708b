package jobs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/jobs"
)

func TestParseConnect(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"node":"r1","show":["ip","route"],"workdir":"/home/a/lab"}`:                                    {"ip", "route"},
		`{"node":"r1","show":["ip route",null," "],"instance":7}`:                                        {"ip", "route"},
		`{"node":"r1","show":"  ip   route ","workspaceRoot":"/home/a"}`:                                 {"ip", "route"},
		`{"node":"r1","show":"show ip route","user":"a","action":"nonsense","environment":7,"labels":1}`: {"ip", "route"},
		`{"node":"r1","show":"show","instance":"x"}`:                                                     {"show"},
		`{"node":"r1","show":"bgp regexp _65000$ | include (a|b)","instance":"x"}`:                       {"bgp", "regexp", "_65000$", "|", "include", "(a|b)"},
	} {
		q, err := jobs.ParseConnect([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(want, q.Show); diff != "" || q.Node != "r1" || q.Workdir == "" && q.Instance == "" {
			t.Errorf("%s: %s %+v", body, diff, q)
		}
	}
	for body, field := range map[string]string{
		``:   "body",
		`[]`: "body",
		`{"node":"r1","node":"r2","show":"x","instance":"x"}`:                     "body",
		`{"show":"x","instance":"x"}`:                                             "node",
		`{"node":"-r","show":"x","instance":"x"}`:                                 "node",
		`{"node":"r 1","show":"x","instance":"x"}`:                                "node",
		`{"node":"../r1","show":"x","instance":"x"}`:                              "node",
		`{"node":["r1"],"show":"x","instance":"x"}`:                               "node",
		`{"node":"r1","instance":"x"}`:                                            "show",
		`{"node":"r1","show":[],"instance":"x"}`:                                  "show",
		`{"node":"r1","show":{},"instance":"x"}`:                                  "show",
		`{"node":"r1","show":[["x"]],"instance":"x"}`:                             "show",
		`{"node":"r1","show":"-F /dev/null","instance":"x"}`:                      "show",
		`{"node":"r1","show":"show -v","instance":"x"}`:                           "show",
		`{"node":"r1","show":"x; id","instance":"x"}`:                             "show",
		`{"node":"r1","show":"x && id","instance":"x"}`:                           "show",
		`{"node":"r1","show":"x > /etc/passwd","instance":"x"}`:                   "show",
		`{"node":"r1","show":"$(id)","instance":"x"}`:                             "show",
		`{"node":"r1","show":"$PATH","instance":"x"}`:                             "show",
		"{\"node\":\"r1\",\"show\":\"`id`\",\"instance\":\"x\"}":                  "show",
		`{"node":"r1","show":"a\"b","instance":"x"}`:                              "show",
		`{"node":"r1","show":"a'b","instance":"x"}`:                               "show",
		`{"node":"r1","show":"a\\b","instance":"x"}`:                              "show",
		`{"node":"r1","show":"a\u001bb","instance":"x"}`:                          "show",
		`{"node":"r1","show":"a\u202eb","instance":"x"}`:                          "show",
		`{"node":"r1","show":"` + strings.Repeat("x", 1025) + `","instance":"x"}`: "show",
		`{"node":"r1","show":"` + strings.Repeat("x ", 65) + `","instance":"x"}`:  "show",
		`{"node":"r1","show":"x"}`:                                                "workdir",
		`{"node":"r1","show":"x","workdir":"lab"}`:                                "workdir",
		`{"node":"r1","show":"x","workdir":"/home/../etc"}`:                       "workdir",
		`{"node":"r1","show":"x","instance":"-i"}`:                                "instance",
		`{"node":"r1","show":"x","instance":"x","host":"a.b"}`:                    "host",
	} {
		var invalid *jobs.Invalid
		if q, err := jobs.ParseConnect([]byte(body)); !errors.As(err, &invalid) || invalid.Faults[0].Field != field {
			t.Errorf("%s: %+v, %v, want a fault of %s", body, q, err, field)
		}
	}
}

func TestParseGraph(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]jobs.Graph{
		`{"workdir":"/home/a/lab"}`: {Type: "topology"},
		`{"workdir":"/home/a/lab","topologyPath":"/home/a/lab/netlab/topology.yml","type":"BGP"}`: {TopologyPath: "netlab/topology.yml", Type: "bgp"},
		`{"instance":"default","topologyPath":null,"type":"","project":"x"}`:                      {Type: "topology"},
	} {
		q, err := jobs.ParseGraph([]byte(body))
		if err != nil || q.TopologyPath != want.TopologyPath || q.Type != want.Type {
			t.Errorf("%s: %+v, %v", body, q, err)
		}
	}
	for body, field := range map[string]string{
		`{}`: "workdir",
		`{"instance":"x","topologyPath":"topology.yml"}`:            "workdir",
		`{"workdir":"/home/a/lab","topologyPath":"/etc/passwd"}`:    "topologyPath",
		`{"workdir":"/home/a/lab","topologyPath":"../x.yml"}`:       "topologyPath",
		`{"workdir":"/home/a/lab","topologyPath":"-x"}`:             "topologyPath",
		`{"workdir":"/home/a/lab","topologyPath":"http://x/y"}`:     "topologyPath",
		`{"workdir":"/home/a/lab","type":"topology:x=/etc/passwd"}`: "type",
		`{"workdir":"/home/a/lab","type":7}`:                        "type",
	} {
		var invalid *jobs.Invalid
		if q, err := jobs.ParseGraph([]byte(body)); !errors.As(err, &invalid) || invalid.Faults[0].Field != field {
			t.Errorf("%s: %+v, %v, want a fault of %s", body, q, err, field)
		}
	}
}

func FuzzQuestions(f *testing.F) {
	f.Add([]byte(`{"node":"r1","show":["ip","route"],"workdir":"/home/a/lab","instance":"7"}`))
	f.Add([]byte(`{"workdir":"/home/a/lab","topologyPath":"topology.yml","type":"bgp"}`))
	f.Add([]byte(`{"node":"-r","show":"$(id)","instance":"-i","host":"."}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if q, err := jobs.ParseConnect(body); err == nil {
			if q.Node == "" || q.Node[0] == '-' || len(q.Show) == 0 || strings.HasPrefix(q.Show[0], "-") {
				t.Errorf("%q: %+v", body, q)
			}
			if strings.ContainsAny(strings.Join(q.Show, ""), "\"'`\\;&<>\n\x00") {
				t.Errorf("%q: %q", body, q.Show)
			}
		}
		if q, err := jobs.ParseGraph(body); err == nil {
			if strings.HasPrefix(q.TopologyPath, "/") || strings.HasPrefix(q.TopologyPath, "-") || strings.Contains("/"+q.TopologyPath+"/", "/../") {
				t.Errorf("%q: %+v", body, q)
			}
		}
	})
}
