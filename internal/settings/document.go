package settings

import (
	"fmt"
	"strings"
)

// Document is docs/settings.md: every setting of both programs, as --help has them.
func Document() (string, error) {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Made from the code by make docs. -->

A setting is taken from its flag, else from its environment variable, else from the YAML file that ` + "`--config`" + ` (NETLAB_API_CONFIG,
NETLAB_WORKER_CONFIG) names, else it is the default. The start-up line of a program shows what was taken and from where, secrets
masked. An unknown key of the file and an unknown variable that begins with ` + "`NETLAB_API_`, `NETLAB_BUS_` or `NETLAB_WORKER_`" + ` are
errors, and so is a value that cannot work: all of them are told at once. An unknown flag is told alone, before them. An empty variable
counts as unset.

The key ` + "`api.port`" + ` is ` + "`port`" + ` in the section ` + "`api`" + `. One file, and one environment, can serve both programs:

` + "```yaml" + `
api:
  port: 8090
worker:
  roots: [/home, /srv/labs]
` + "```" + `

A SIZE is a number of bytes, or one with KiB, MiB or GiB. A DURATION is like 30s, 10m or 4h. Lists have ',' between their items.
`)
	for _, p := range []struct {
		name, note string
		settings   func(machine) (*parser, error)
	}{
		{"netlab-api", "The settings below Worker have an effect with `--with-worker` alone.", func(m machine) (*parser, error) { return newParser(&API{}, m) }},
		{"netlab-worker", "", func(m machine) (*parser, error) { return newParser(&WorkerProgram{}, m) }},
	} {
		// What differs from machine to machine is said in words.
		here, err := p.settings(machine{host: "one", cores: 1})
		if err != nil {
			return "", err
		}
		elsewhere, err := p.settings(machine{host: "two", cores: 2})
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n## %s\n", p.name)
		if p.note != "" {
			fmt.Fprintf(&b, "\n%s\n", p.note)
		}
		group := ""
		for i, s := range here.settings {
			if s.Default != elsewhere.settings[i].Default {
				s.Default = ""
			}
			if s.Group != group {
				group = s.Group
				fmt.Fprintf(&b, "\n### %s\n\n| flag | variable | key | default | meaning |\n|---|---|---|---|---|\n", group)
			}
			b.WriteString(row(s))
		}
	}
	return b.String(), nil
}

func row(s Setting) string {
	flag := s.Flag
	if s.Placeholder != "" {
		flag += "=" + s.Placeholder
	}
	key := "not in the file"
	if s.Key != "" {
		key = "`" + s.Key + "`"
	}
	help := s.Help
	if s.Secret {
		help += " Masked where it is shown."
	}
	cell := strings.NewReplacer("|", `\|`, "*", `\*`, "\n", " ").Replace
	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |\n", cell(flag), s.Variable, key, cell(defaultOf(s)), cell(help))
}
