// Command bench measures what the project adds to the parts that it is made of. Each figure stands beside its bare baseline,
// measured in the same run, in turns with it.
//
// Everything happens on loopback and in one temporary directory, and is ended and removed at the end, on Ctrl-C too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if code, ok := playRole(); ok {
		os.Exit(code)
	}
	if err := run(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A second Ctrl-C ends this process at once; what it started sees that and ends too.
	context.AfterFunc(ctx, stop)
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	if o.grow {
		return grow(ctx, o, os.Stdout, os.Stderr)
	}
	return measure(ctx, o, os.Stdout, os.Stderr)
}

// options are what the command line says.
type options struct {
	figures *regexp.Regexp
	rounds  int
	short   bool
	grow    bool
	// pictures is the directory for the curves of -grow; empty: none.
	pictures string
	json     string
	dir      string
	python   string
	profile  string
	timeout  time.Duration
	// root is the repository's.
	root string
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	figures := f.String("run", "", "measure only the figures whose `name` matches this regular expression")
	f.IntVar(&o.rounds, "rounds", 0, "`number` of rounds, of which the median counts (default 5, with -short 1)")
	f.BoolVar(&o.short, "short", false, "small amounts, to see that it works: the figures mean nothing")
	f.BoolVar(&o.grow, "grow", false, "measure how it grows instead: with jobs, log, followers and hosts, which -run chooses from")
	f.StringVar(&o.pictures, "pictures", "", "`directory` for the curves of -grow (default docs/growth, none with -short)")
	f.StringVar(&o.json, "json", "", "write the figures of every round to this `file` too")
	f.StringVar(&o.dir, "dir", "", "`directory` for all that is stored meanwhile (default the system's for temporary files)")
	f.StringVar(&o.python, "python", os.Getenv("NETLAB_WORKER_PYTHON"), "Python `interpreter` that has Netlab (default .venv/bin/python)")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles of what is measured and written in Go, and samples of the creates' Python, into this `directory`")
	sync := f.String("sync", "", "how often the servers of both sides force what they store to the disk: always, or a `duration` (default that of NETLAB_BUS_SYNC)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Minute, "give up after this `time`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: there are no arguments but flags, see -help", f.Arg(0))
	}
	err := os.Setenv(syncVariable, *sync)
	if err != nil {
		return nil, err
	}
	if o.figures, err = regexp.Compile(*figures); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	if o.rounds <= 0 {
		o.rounds = 5
		if o.short {
			o.rounds = 1
		}
	}
	if o.root, err = repository(); err != nil {
		return nil, err
	}
	if o.pictures == "" && !o.short {
		o.pictures = filepath.Join(o.root, "docs", "growth")
	}
	if o.python == "" {
		o.python = filepath.Join(o.root, ".venv", "bin", "python")
	}
	if o.python, err = filepath.Abs(o.python); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.python); err != nil {
		return nil, fmt.Errorf("no Python with Netlab: run `make build` in the root of the repository, or name one with -python: %w", err)
	}
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// syncVariable tells the processes of a run what -sync says.
const syncVariable = "BENCH_SYNC"

// syncArguments are those that give netlab-api what -sync says.
func syncArguments() []string {
	if value := os.Getenv(syncVariable); value != "" {
		return []string{"--bus-sync=" + value}
	}
	return nil
}

// repository is the directory above this one that holds go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for here := dir; ; here = filepath.Dir(here) {
		if _, err := os.Stat(filepath.Join(here, "go.mod")); err == nil {
			return here, nil
		}
		if here == filepath.Dir(here) {
			return "", fmt.Errorf("%s is not inside the repository, where the sample lab is", dir)
		}
	}
}
