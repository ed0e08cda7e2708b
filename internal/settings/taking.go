package settings

import (
	"slices"

	"github.com/alecthomas/kong"
)

// Source is where a setting's value came from.
type Source string

// The sources there are, the first that gives a value wins.
const (
	Flag        Source = "flag"
	Environment Source = "environment"
	File        Source = "file"
	Default     Source = "default"
)

// taking is one run of finding the values: the sources below the command line, and what came from where.
type taking struct {
	machine machine
	parser  *parser
	known   []Setting
	environ map[string]string
	file    map[string]fileValue // by key
	sources map[string]Source    // by variable
	faults  []Fault
	started bool
}

func newTaking(p program, in Invocation, known []Setting, m machine) (*taking, error) {
	t := &taking{machine: m, known: known, environ: environment(in.Environ), sources: map[string]Source{}}
	parser, err := newParser(p, m, kong.Resolvers(kong.ResolverFunc(t.resolve)))
	if err != nil {
		return nil, err
	}
	t.parser = parser
	return t, nil
}

// resolve is asked by the library for each flag that is not on the command line, and is the order of the sources below
// it. The library's own tag for variables is not used: it would rank the file above the environment.
func (t *taking) resolve(ctx *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if !t.started {
		t.started = true
		t.start(ctx)
	}
	variable := variableOf(f)
	if text, ok := t.environ[variable]; ok {
		t.sources[variable] = Environment
		return text, nil
	}
	if v, ok := t.file[keyOf(variable)]; ok {
		t.sources[variable] = File
		return v.text, nil
	}
	return nil, nil
}

// start notes what the command line gives, and reads the file that --config or its variable names.
func (t *taking) start(ctx *kong.Context) {
	for _, path := range ctx.Path {
		if path.Flag != nil {
			t.sources[variableOf(path.Flag)] = Flag
		}
	}
	for _, f := range ctx.Flags() {
		if f.Name != "config" {
			continue
		}
		path, _ := ctx.FlagValue(f).(string)
		if t.source(variableOf(f)) != Flag {
			path = t.environ[variableOf(f)]
		}
		if path == "" {
			continue
		}
		values, faults := readFile(path, variableOf(f), t.known)
		t.file = values
		t.faults = append(t.faults, faults...)
	}
}

func (t *taking) source(variable string) Source {
	if s, ok := t.sources[variable]; ok {
		return s
	}
	return Default
}

// allFaults gathers unknown names, unreadable values and values that cannot work, in this order.
func (t *taking) allFaults(p program) []Fault {
	faults := append(t.faults, unknownVariables(t.environ, t.known)...)
	faults = append(faults, t.parser.checks.faults...)
	for _, f := range p.validate() {
		// A value that could not be read was left empty, about which there is nothing more to say.
		if !t.parser.checks.has(f.Variable) {
			faults = append(faults, f)
		}
	}
	faults = append(faults, t.withoutEffect(p)...)
	for i := range faults {
		if faults[i].Where == "" {
			faults[i].Where = t.where(faults[i].Variable)
		}
	}
	return faults
}

// withoutEffect refuses flags that do nothing as things are. Variables and the file may well hold such settings: they
// are often shared.
func (t *taking) withoutEffect(p program) []Fault {
	var faults []Fault
	for _, s := range t.parser.settings {
		if w := p.without(); w != "" && s.Group == w && t.source(s.Variable) == Flag {
			faults = append(faults, faultf(s.Variable, "has no effect without --with-worker: give both, or neither"))
		}
	}
	return faults
}

// where names a setting for the reader of a fault.
func (t *taking) where(variable string) string {
	i := slices.IndexFunc(t.parser.settings, func(s Setting) bool { return s.Variable == variable })
	if i < 0 {
		return variable
	}
	s := t.parser.settings[i]
	where := s.Flag + ", " + s.Variable
	if t.source(variable) == File {
		where += " (" + t.file[s.Key].where + ")"
	}
	return where
}
