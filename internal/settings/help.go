package settings

import (
	"bytes"
	"fmt"
	"io"
)

// printHelp writes the four ways of each setting. The library's own printer has no place for the file's key.
func printHelp(w io.Writer, a about, all []Setting) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n%s\n\n", a.name, a.does)
	b.WriteString(`A setting is taken from its flag, else from its environment variable, else from the YAML file that --config
names, else it is the default. Below each flag: the variable, the key in the file, the default. The key
"api.port" is "port" in the section "api". An empty variable counts as unset.
`)
	group := ""
	for _, s := range all {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		flag := s.Flag
		if s.Placeholder != "" {
			flag += "=" + s.Placeholder
		}
		fmt.Fprintf(&b, "  %s\n      %s\n      %s\n", flag, s.Help, origins(s))
	}
	b.WriteString("\nOther flags:\n  --help\n      Show this text and end.\n  --version\n      Show the version and end.\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("error writing the help: %w", err)
	}
	return ErrDone
}

func origins(s Setting) string {
	key := s.Key
	if key == "" {
		key = "not in the file"
	}
	return fmt.Sprintf("%s | %s | default: %s", s.Variable, key, defaultOf(s))
}

func defaultOf(s Setting) string {
	switch {
	case s.Default != "" && s.DefaultText != "":
		return s.Default + " (" + s.DefaultText + ")"
	case s.Default != "":
		return s.Default
	case s.DefaultText != "":
		return s.DefaultText
	case s.Placeholder == "":
		return "false"
	}
	return "none"
}
