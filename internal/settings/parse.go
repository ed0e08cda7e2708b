package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Invocation is what a program was started with.
type Invocation struct {
	// Args are the arguments without the program's own name.
	Args []string
	// Environ is the environment, as KEY=value.
	Environ []string
	// Stdout takes the text of --help and --version.
	Stdout io.Writer
	// Version is what --version says.
	Version string
}

// Process is the invocation of this process.
func Process(version string) Invocation {
	return Invocation{Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Version: version}
}

// ParseAPI takes the settings of netlab-api. Its error is ErrDone where --help or --version was asked for and has been
// written, else an *Invalid with everything that is wrong, else what the command line lacks.
func ParseAPI(in Invocation) (*API, error) {
	api := &API{}
	err := parse(in, about{
		name: "netlab-api",
		does: "The HTTP API that runs Netlab on a fleet of lab hosts.",
	}, api, thisMachine())
	if err != nil {
		return nil, err
	}
	return api, nil
}

// ParseWorker takes the settings of netlab-worker; its errors are those of ParseAPI.
func ParseWorker(in Invocation) (*WorkerProgram, error) {
	worker := &WorkerProgram{}
	err := parse(in, about{
		name: "netlab-worker",
		does: "The worker of a lab host: it takes the host's jobs from the bus and runs Netlab.",
	}, worker, thisMachine())
	if err != nil {
		return nil, err
	}
	return worker, nil
}

// about says what a program is called and does.
type about struct {
	name, does string
}

// program is the settings of one of the programs.
type program interface {
	// complete fills in what depends on other settings and brings values into their one form.
	complete(t *taking)
	validate() []Fault
	// without is the group whose settings have no effect as things are, empty where all have one.
	without() string
	keep(taken []Value)
}

// parser is the command line of a program.
type parser struct {
	kong     *kong.Kong
	settings []Setting
	flags    map[string]*kong.Flag // by variable
	checks   *checks
}

// cli is what the library sees: a program's settings beside the two flags that are none.
type cli struct {
	Help    helpFlag    `group:"Program" help:"Show this text and end." short:"h"`
	Version versionFlag `group:"Program" help:"Show the version and end."`
}

type (
	helpFlag    bool
	versionFlag bool
)

// BeforeReset is called by the library when it has seen --help.
func (helpFlag) BeforeReset() error { return errHelp }

// BeforeReset is called by the library when it has seen --version.
func (versionFlag) BeforeReset() error { return errVersion }

func newParser(p program, m machine, more ...kong.Option) (*parser, error) {
	out := &parser{flags: map[string]*kong.Flag{}, checks: &checks{}}
	options := append(more,
		kong.Embed(p),
		kong.NoDefaultHelp(),
		kong.Exit(func(int) {}),
		kong.Vars{"host": m.host, "cores": fmt.Sprint(m.cores)},
	)
	k, err := kong.New(&cli{}, options...)
	if err != nil {
		return nil, fmt.Errorf("error building the command line: %w", err)
	}
	out.kong = k
	for _, f := range k.Model.Flags {
		if v := variableOf(f); v != "" {
			f.Mapper = checkedMapper{Mapper: f.Mapper, variable: v, checks: out.checks}
			out.flags[v] = f
			out.settings = append(out.settings, describe(f))
		}
	}
	return out, nil
}

// parse fills p, or says everything that is wrong.
func parse(in Invocation, a about, p program, m machine) error {
	known, err := everySetting(m)
	if err != nil {
		return err
	}
	t, err := newTaking(p, in, known, m)
	if err != nil {
		return err
	}
	_, err = t.parser.kong.Parse(in.Args)
	switch {
	case errors.Is(err, errHelp):
		return printHelp(in.Stdout, a, t.parser.settings)
	case errors.Is(err, errVersion):
		if _, err := fmt.Fprintf(in.Stdout, "%s %s\n", a.name, in.Version); err != nil {
			return fmt.Errorf("error writing the version: %w", err)
		}
		return ErrDone
	case err != nil:
		return fmt.Errorf("%s (see %s --help)", commandLineError(err, t.parser.settings), a.name)
	}

	p.complete(t)
	if faults := t.allFaults(p); len(faults) > 0 {
		return &Invalid{Faults: faults}
	}
	p.keep(t.summary(p))
	return nil
}

// commandLineError adds the nearest flag where the library, which wants two letters' difference at most, names none.
func commandLineError(err error, all []Setting) string {
	text := err.Error()
	flag, ok := strings.CutPrefix(text, "unknown flag ")
	if !ok || strings.Contains(text, "did you mean") {
		return text
	}
	flags := []string{"--help", "--version"}
	for _, s := range all {
		flags = append(flags, s.Flag)
	}
	if near := nearest(flag, flags, "--"); near != "" {
		text += fmt.Sprintf(", did you mean %q?", near)
	}
	return text
}

// everySetting lists the settings of all programs, so that one environment and one file can serve them all.
func everySetting(m machine) ([]Setting, error) {
	api, err := newParser(&API{}, m)
	if err != nil {
		return nil, err
	}
	worker, err := newParser(&WorkerProgram{}, m)
	if err != nil {
		return nil, err
	}
	return append(api.settings, worker.settings...), nil
}
