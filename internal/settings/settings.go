// Package settings takes the settings of netlab-api and netlab-worker in one way: from a flag, else from an environment
// variable, else from a YAML file, else the default. A name that is no setting is an error, and so is every value that
// cannot work: all of them are told at once, with what to do, but for a flag that is none, which is told alone.
package settings

import (
	"cmp"
	"strings"

	"github.com/alecthomas/kong"
)

// Setting describes one setting, as --help shows it and the documentation is generated from it.
type Setting struct {
	// Group is the heading that it stands under.
	Group string
	// Flag is its name on the command line, with the leading "--".
	Flag string
	// Variable is its name in the environment.
	Variable string
	// Key is its place in the YAML file, "section.name"; empty where the file cannot hold it.
	Key string
	// Placeholder stands for the value in "--flag=VALUE", empty for a switch.
	Placeholder string
	// Default is the text that is used where nothing is given, empty for none. On another machine it may differ where
	// DefaultText is set.
	Default string
	// DefaultText says in words where a default that depends on something else comes from, else empty.
	DefaultText string
	// Help says what it does.
	Help string
	// Secret says that its value, or a part of it, is never shown.
	Secret bool
	// Important says that the start-up line shows it whether or not it was given.
	Important bool
}

// APISettings lists the settings of netlab-api in the order of --help.
func APISettings() ([]Setting, error) {
	p, err := newParser(&API{}, thisMachine())
	if err != nil {
		return nil, err
	}
	return p.settings, nil
}

// WorkerSettings lists the settings of netlab-worker in the order of --help.
func WorkerSettings() ([]Setting, error) {
	p, err := newParser(&WorkerProgram{}, thisMachine())
	if err != nil {
		return nil, err
	}
	return p.settings, nil
}

// variableOf is the environment variable of a flag, empty for --help and --version, which are no settings.
func variableOf(f *kong.Flag) string { return f.Tag.Get("variable") }

func describe(f *kong.Flag) Setting {
	s := Setting{
		Flag:        "--" + f.Name,
		Variable:    variableOf(f),
		Key:         keyOf(variableOf(f)),
		Default:     f.Default,
		DefaultText: f.Tag.Get("defaulttext"),
		Help:        f.Help,
		Secret:      f.Tag.Has("secret"),
		Important:   f.Tag.Has("important"),
	}
	if f.Group != nil {
		s.Group = f.Group.Title
	}
	if f.Tag.Has("nokey") {
		s.Key = ""
	}
	if !f.IsBool() {
		s.Placeholder = cmp.Or(f.Tag.PlaceHolder, "TEXT")
	}
	return s
}

// keyOf makes the YAML key of a variable's name: NETLAB_API_DATA_DIR is data_dir in the section api.
func keyOf(variable string) string {
	return strings.Replace(strings.ToLower(strings.TrimPrefix(variable, "NETLAB_")), "_", ".", 1)
}
