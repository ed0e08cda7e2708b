package settings

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// samples gives three texts that differ from each other and from any default.
func samples(t *testing.T, v any) [3]string {
	t.Helper()
	switch v.(type) {
	case bool:
		return [3]string{"true", "false", "true"}
	case int:
		return [3]string{"11", "12", "13"}
	case time.Duration:
		return [3]string{"21s", "22s", "23s"}
	case Size:
		return [3]string{"31MiB", "32MiB", "33MiB"}
	case Sync:
		return [3]string{"41s", "42s", "always"}
	case []string:
		return [3]string{"/a,/b", "/c", "/d"}
	case map[string]string:
		return [3]string{"a=b", "c=d", "e=f,g=h"}
	case string, Format:
		return [3]string{"one", "two", "three"}
	}
	t.Fatalf("no samples for a %T", v)
	return [3]string{}
}

// yamlOf is a file with one setting.
func yamlOf(key, text string) string {
	section, name, _ := strings.Cut(key, ".")
	return fmt.Sprintf("%s:\n  %s: %q\n", section, name, text)
}

// Every setting of both programs, by each source, each with and without those below it.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	known, err := everySetting(testMachine())
	if err != nil {
		t.Fatal(err)
	}
	for name, newProgram := range map[string]func() program{
		"netlab-api":    func() program { return &API{} },
		"netlab-worker": func() program { return &WorkerProgram{} },
	} {
		model, err := newParser(newProgram(), testMachine())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range model.settings {
			if s.Key == "" {
				continue
			}
			t.Run(name+"/"+s.Variable, func(t *testing.T) {
				t.Parallel()
				sample := samples(t, model.flags[s.Variable].Target.Interface())
				flag, env, file := s.Flag+"="+sample[0], s.Variable+"="+sample[1], yamlOf(s.Key, sample[2])
				for _, c := range []struct {
					given  given
					source Source
					text   string
				}{
					{given{[]string{flag}, []string{env}, file}, Flag, sample[0]},
					{given{[]string{flag}, nil, file}, Flag, sample[0]},
					{given{[]string{flag}, []string{env}, ""}, Flag, sample[0]},
					{given{[]string{flag}, nil, ""}, Flag, sample[0]},
					{given{nil, []string{env}, file}, Environment, sample[1]},
					{given{nil, []string{env}, ""}, Environment, sample[1]},
					{given{nil, []string{s.Variable + "="}, file}, File, sample[2]},
					{given{nil, nil, file}, File, sample[2]},
				} {
					text, source := take(t, newProgram(), known, c.given, s.Variable)
					if text != c.text || source != c.source {
						t.Errorf("%+v: took %q from %s, want %q from %s", c.given, text, source, c.text, c.source)
					}
				}
				want := s.Default
				if s.Placeholder == "" {
					want = "false"
				}
				if text, source := take(t, newProgram(), known, given{}, s.Variable); text != want || source != Default {
					t.Errorf("took %q from %s, want the default %q", text, source, want)
				}
			})
		}
	}
}

// take is the value and the source of one setting before it is completed and checked.
func take(t *testing.T, p program, known []Setting, g given, variable string) (string, Source) {
	t.Helper()
	in := g.invocation(t, &bytes.Buffer{})
	tk, err := newTaking(p, in, known, testMachine())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tk.parser.kong.Parse(in.Args); err != nil {
		t.Fatal(err)
	}
	if f := tk.parser.checks.faults; f != nil {
		t.Fatalf("unreadable: %v", f)
	}
	return plain(tk.parser.flags[variable].Target.Interface()), tk.source(variable)
}

func TestConfigFlagBeatsItsVariable(t *testing.T) {
	t.Parallel()
	a, b := writeFile(t, "a.yml", "api:\n  port: 1\n"), writeFile(t, "b.yml", "api:\n  port: 2\n")
	if api := mustParseAPI(t, given{args: []string{"--config", a}, env: []string{"NETLAB_API_CONFIG=" + b}}); api.Port != 1 || api.Config != a {
		t.Errorf("got port %d of %s, want 1 of %s", api.Port, api.Config, a)
	}
	if api := mustParseAPI(t, given{env: []string{"NETLAB_API_CONFIG=" + b}}); api.Port != 2 || api.Config != b {
		t.Errorf("got port %d of %s, want 2 of %s", api.Port, api.Config, b)
	}
}
