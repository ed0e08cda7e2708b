// Command benchcompare runs the benchmarks of two revisions in turns and says what changed beyond noise. It fails only where something
// got worse by more than a factor of 2.
//
// Each revision's own benchmark program is built and run, in one temporary directory, which is removed at the end, on Ctrl-C too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		err = o.compare(ctx, os.Stdout, os.Stderr)
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-compare:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	base, head string // revisions; an empty base is the previous release, an empty head is the working tree
	figures    string
	turns      int
	rounds     int
	within     time.Duration // 0: no limit
	short      bool
	dir        string
	python     string
	// root is the repository's.
	root string
}

// The brief form is for every change: the figures that take little time and need no Netlab. Four values of each revision are the
// fewest of which a difference can be told from noise.
const (
	briefFigures = "^(post|live)$"
	briefTurns   = 4
	briefRounds  = 1
	briefWithin  = 3 * time.Minute
)

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench-compare", flag.ContinueOnError)
	f.StringVar(&o.base, "base", "", "`revision` to compare with (default the previous release, see test/previous-release)")
	f.StringVar(&o.head, "head", "", "`revision` to compare (default the working tree as it is)")
	f.StringVar(&o.figures, "run", "", "run only the figures whose `name` matches this regular expression, see the help of bench")
	f.IntVar(&o.turns, "turns", 3, "how `often` each revision's benchmark is started, one after the other")
	f.IntVar(&o.rounds, "rounds", 2, "`number` of rounds in each turn")
	f.DurationVar(&o.within, "within", 0, "take no longer than this `time` once both are built, whatever is done until then (default no limit)")
	f.BoolVar(&o.short, "short", false, "small amounts, to see that it works: they are not the same in all revisions")
	f.StringVar(&o.dir, "dir", "", "`directory` for all that is built and stored meanwhile (default the system's for temporary files)")
	f.StringVar(&o.python, "python", os.Getenv("NETLAB_WORKER_PYTHON"), "Python `interpreter` that has Netlab (default .venv/bin/python)")
	brief := f.Bool("brief", false, fmt.Sprintf("as CI does, where nothing else is said: -run '%s' -turns %d -rounds %d -within %s", briefFigures, briefTurns, briefRounds, briefWithin))
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: there are no arguments but flags, see -help", f.Arg(0))
	}
	if *brief {
		o.beBrief(f)
	}
	var err error
	if o.root, err = os.Getwd(); err != nil {
		return nil, err
	}
	if o.python == "" {
		o.python = filepath.Join(".venv", "bin", "python")
	}
	if o.python, err = filepath.Abs(o.python); err != nil {
		return nil, err
	}
	if o.dir != "" { // the benchmarks run in another directory
		o.dir, err = filepath.Abs(o.dir)
	}
	return o, err
}

// beBrief sets what the flags do not say.
func (o *options) beBrief(f *flag.FlagSet) {
	said := map[string]bool{}
	f.Visit(func(f *flag.Flag) { said[f.Name] = true })
	if !said["run"] {
		o.figures = briefFigures
	}
	if !said["turns"] {
		o.turns = briefTurns
	}
	if !said["rounds"] {
		o.rounds = briefRounds
	}
	if !said["within"] {
		o.within = briefWithin
	}
}

// compare writes the table, and returns an error where something got worse by more than a factor of 2 or could not be run. A base
// that cannot be compared with is none.
func (o *options) compare(ctx context.Context, stdout, progress io.Writer) (err error) {
	base := o.base
	if base == "" {
		if base, err = o.previousRelease(ctx); err != nil {
			return err
		}
	}
	if base == "" {
		_, err := fmt.Fprintln(stdout, "nothing to compare with: this checkout does not have the previous release (a shallow clone? git fetch --unshallow)")
		return err
	}
	for _, named := range []string{base, o.head} {
		if named == "" {
			continue
		}
		if err := o.check(ctx, named); err != nil {
			return err
		}
	}
	temporary, err := os.MkdirTemp(o.dir, "netlab-bench-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	before, after := &revision{name: base, dir: filepath.Join(temporary, "base")}, &revision{name: o.head, dir: filepath.Join(temporary, "head")}
	for _, r := range []*revision{after, before} {
		_, _ = fmt.Fprintf(progress, "building the benchmarks of %s\n", r)
		err := r.build(ctx, o.root)
		if err == nil {
			continue
		}
		if r == before && ctx.Err() == nil {
			_, err := fmt.Fprintf(stdout, "nothing to compare with: %s has no benchmarks that can be built: %v\n", r, err)
			return err
		}
		return fmt.Errorf("%s: %w", r, err)
	}
	if err := o.takeTurns(ctx, progress, before, after); err != nil {
		var unusable *unusableError
		if !errors.As(err, &unusable) || unusable.revision != before {
			return err
		}
		if before.rows == nil || after.rows == nil {
			_, err := fmt.Fprintf(stdout, "nothing to compare with: %v\n", err)
			return err
		}
		_, _ = fmt.Fprintf(progress, "the turns before are compared: %v\n", err)
	}
	changes := changesOf(before.rows, after.rows)
	if err := writeChanges(stdout, before, after, changes); err != nil {
		return err
	}
	return losses(changes)
}
