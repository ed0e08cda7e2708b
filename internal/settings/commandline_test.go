package settings

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLineErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"one letter off":       {[]string{"--prt=1"}, `unknown flag --prt, did you mean "--port"? (see netlab-api --help)`},
		"the first word left":  {[]string{"--password=x"}, `unknown flag --password, did you mean "--auth-password"? (see netlab-api --help)`},
		"like no other":        {[]string{"--zzzzzz"}, `unknown flag --zzzzzz (see netlab-api --help)`},
		"a word":               {[]string{"serve"}, `unexpected argument serve (see netlab-api --help)`},
		"a value behind a yes": {[]string{"--insecure", "no"}, `unexpected argument no (see netlab-api --help)`},
		"several values": {
			[]string{"--port", "--bind", "127.0.0.1", "--idle-timeout=x", "--body-limit=x", "--insecure=x"},
			"--port=VALUE\n--idle-timeout\n--body-limit\n--insecure",
		},
		"a worker's without one":    {[]string{"--worker-slots=3"}, "--worker-slots, NETLAB_WORKER_SLOTS: has no effect without --with-worker: give both, or neither"},
		"a worker's user":           {[]string{"--run-as-user=lab"}, "--run-as-user, NETLAB_RUN_AS_USER: has no effect without --with-worker: give both, or neither"},
		"a worker's with one":       {[]string{"--worker-slots=3", "--with-worker"}, ""},
		"a switch that is set off":  {[]string{"--insecure=false"}, ""},
		"a config that is not here": {[]string{"--config=/nowhere/settings.yml"}, "--config, NETLAB_API_CONFIG: open /nowhere/settings.yml: no such file or directory: name a YAML file that this user can read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseAPI(t, given{args: c.args})
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("got no error")
			}
			rest := err.Error()
			for _, part := range strings.Split(c.want, "\n") {
				i := strings.Index(rest, part)
				if i < 0 {
					t.Fatalf("%q is not in its place in %q", part, err)
				}
				rest = rest[i:]
			}
		})
	}
}

func TestListGivenTwice(t *testing.T) {
	t.Parallel()
	api := mustParseAPI(t, given{
		args: []string{"--with-worker", "--worker-roots=/a,/b", "--worker-labels=a=b", "--worker-roots=/c", "--worker-labels=c=d"},
	})
	if diff := cmp.Diff([]string{"/a", "/b", "/c"}, api.Worker.Roots); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "b", "c": "d"}, api.Worker.Labels); diff != "" {
		t.Error(diff)
	}
}

// --help shows each setting's flag, variable, key and default, together.
func TestHelp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parse    func(Invocation) error
		settings func() ([]Setting, error)
		has      string
		hasNot   string
	}{
		"netlab-api":    {func(in Invocation) error { _, err := ParseAPI(in); return err }, APISettings, "--port=PORT\n", "NETLAB_WORKER_CONFIG"},
		"netlab-worker": {func(in Invocation) error { _, err := ParseWorker(in); return err }, WorkerSettings, "--worker-host=HOST\n", "NETLAB_API_PORT"},
	} {
		var out bytes.Buffer
		if err := c.parse(Invocation{Args: []string{"--help"}, Stdout: &out}); !errors.Is(err, ErrDone) {
			t.Errorf("%s --help: got %v, want ErrDone", name, err)
		}
		text := out.String()
		all, err := c.settings()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			_, entry, ok := strings.Cut(text, "\n  "+s.Flag+"=")
			if s.Placeholder == "" {
				_, entry, ok = strings.Cut(text, "\n  "+s.Flag+"\n")
			}
			if !ok {
				t.Errorf("%s --help lacks %s", name, s.Flag)
				continue
			}
			entry = strings.Join(strings.SplitN(entry, "\n", 4)[:3], "\n")
			for _, part := range []string{s.Help, s.Variable, s.Key, s.Default, s.DefaultText, "default: "} {
				if !strings.Contains(entry, part) {
					t.Errorf("%s --help lacks %q at %s: %s", name, part, s.Flag, entry)
				}
			}
			if s.Help == "" || s.Group == "" || (s.Key == "" && s.Flag != "--config") {
				t.Errorf("%+v lacks something", s)
			}
		}
		if !strings.HasPrefix(text, "Usage: "+name) || !strings.Contains(text, c.has) || strings.Contains(text, c.hasNot) || !strings.Contains(text, "--version") {
			t.Errorf("%s --help is\n%s", name, text)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := Invocation{Args: []string{"--version"}, Stdout: &out, Version: "v1.2.3", Environ: []string{"NETLAB_API_WRONG=1"}}
	if _, err := ParseAPI(in); !errors.Is(err, ErrDone) {
		t.Errorf("got %v, want ErrDone", err)
	}
	if _, err := ParseWorker(in); !errors.Is(err, ErrDone) {
		t.Errorf("got %v, want ErrDone", err)
	}
	if got, want := out.String(), "netlab-api v1.2.3\nnetlab-worker v1.2.3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
