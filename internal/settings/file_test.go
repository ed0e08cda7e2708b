package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFileFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"nothing but a comment": {"# later\n", nil},
		"an empty section":      {"api:\n", nil},
		"empty values":          {"api:\n  port:\n  bind: ''\n", nil},
		"unknown":               {"api:\n  prot: 1\n  slots: 3\n", []string{"api.prot: did you mean api.port?", "api.slots: did you mean worker.slots?"}},
		"unlike any other":      {"api:\n  qqqqqqqq: 1\n", []string{"api.qqqqqqqq: --help"}},
		"unknown section":       {"apo:\n  port: 1\n", []string{"apo: did you mean api?"}},
		"the file's own name":   {"api:\n  config: x\n", []string{"api.config: is not a setting"}},
		"another's sections":    {"worker:\n  slots: 3\n  prot: 1\n", []string{"worker.prot: is not a setting"}},
		"twice":                 {"api:\n  port: 1\n  port: 2\nbus:\napi:\n", []string{"api.port: twice", "api: twice"}},
		"too deep":              {"api:\n  port: [[1]]\n  user: {a: {b: c}}\n", []string{"api.port: nested", "api.user: nested"}},
		"a list":                {"- api\n", []string{": holds no settings"}},
		"a flat section":        {"api: 8090\n", []string{"api: holds no settings"}},
		"no YAML":               {"api: [\n", []string{"NETLAB_API_CONFIG: not a YAML document"}},
		"two documents":         {"api:\n---\nbus:\n", []string{"NETLAB_API_CONFIG: more than one document"}},
		"a list for a number":   {"api:\n  port: [1, 2]\n", []string{`NETLAB_API_PORT: "1,2" is no whole number`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseAPI(t, given{file: c.file})
			wantFaults(t, err, c.want...)
		})
	}
}

func TestFileValues(t *testing.T) {
	t.Parallel()
	api := mustParseAPI(t, given{file: `
api:
  with_worker: yes
  password: "0123"
  user: &me someone
bus:
  url: ["nats://127.0.0.1:1", localhost]
worker:
  roots: [/srv/labs/, "/with,comma"]
  labels: {rack: a1, owner: *me}
  path: /opt/a,/opt/b
  timeout: 90m
`})
	if !api.WithWorker || api.Password != "0123" || api.Worker.Timeout.Minutes() != 90 {
		t.Errorf("got %+v", api)
	}
	for _, c := range []struct{ got, want any }{
		{api.Bus.URLs, []string{"nats://127.0.0.1:1", "localhost"}},
		{api.Worker.Roots, []string{"/srv/labs", "/with,comma"}},
		{api.Worker.Path, []string{"/opt/a", "/opt/b"}},
		{api.Worker.Labels, map[string]string{"rack": "a1", "owner": "someone"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Error(diff)
		}
	}
}
