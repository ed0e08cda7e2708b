package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// measureCreate measures a real create of three routers: through netlab-api with its worker, by hand on the command line,
// and through Netlab's own `netlab api`. Each run has a new working directory; all share one home directory, warmed up.
// Beside that: through a worker that keeps nothing ready, and through one that has let go what it kept.
func measureCreate(ctx context.Context, b *bench) (rows []row, err error) {
	n, err := b.newNetlab()
	if err != nil {
		return nil, err
	}
	systems := map[string]*system{}
	for name, warm := range map[string]string{"here": "10m", "anew": "0", "idle": "100ms"} {
		s, failed := n.startSystem(ctx, "create-"+name, "--worker-warm="+warm)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, s.endWithRuns()) }()
		systems[name] = s
	}
	upstream, err := n.startAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, upstream.end()) }()

	sides := []side{
		{"here", func(ctx context.Context) (sample, error) { return n.createHere(ctx, systems["here"]) }},
		{"cli", n.createByHand},
		{"api", upstream.create},
		{"anew", func(ctx context.Context) (sample, error) { return n.createHere(ctx, systems["anew"]) }},
		{"idle", func(ctx context.Context) (sample, error) { return n.createAfterIdleness(ctx, systems["idle"]) }},
	}
	for _, one := range sides[:b.amount(len(sides), 0)] { // the first run in a new home takes longer
		if _, err := one.measure(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	r, err := b.inTurns(ctx, "create", sides...)
	if err != nil {
		return nil, err
	}
	return []row{
		{"create, POST to the first byte at a follower", "ms", less, r.of("here", "byte"), r.of("cli", "line"), "netlab create, start to first line"},
		{"create, POST to Netlab's first line at a follower", "ms", less, r.of("here", "line"), r.of("cli", "line"), "netlab create, start to first line"},
		{"create, POST to the end at a follower", "ms", less, r.of("here", "end"), r.of("cli", "end"), "netlab create, start to exit"},
		{"create, POST to the end at a follower", "ms", less, r.of("here", "end"), r.of("api", "end"), "netlab api, POST to end, polled"},
		{"create, nothing kept ready, POST to the end at a follower", "ms", less, r.of("anew", "end"), r.of("cli", "end"), "netlab create, start to exit"},
		{"create, the first one after an idle time, POST to the end at a follower", "ms", less, r.of("idle", "end"), r.of("cli", "end"), "netlab create, start to exit"},
	}, nil
}

// startSystem starts an API with a worker that runs Netlab, as the command line runs it. name is that of its profile.
func (n *netlab) startSystem(ctx context.Context, name string, args ...string) (*system, error) {
	args = append(append(n.workerArguments(), "--with-worker"), args...)
	if n.profile != "" {
		python, err := n.sampledPython(name)
		if err != nil {
			return nil, err
		}
		args = append(args, "--worker-python="+python)
	}
	s, err := n.bench.startSystem(ctx, args, "HOME="+n.home)
	if err != nil {
		return nil, err
	}
	if err := s.awaitHosts(ctx, 1); err != nil {
		return nil, errors.Join(err, s.endWithRuns())
	}
	return s, nil
}

// createAfterIdleness is createHere when the worker keeps nothing ready any more.
func (n *netlab) createAfterIdleness(ctx context.Context, s *system) (sample, error) {
	err := s.eventually(ctx, "nothing is kept ready", func() (bool, error) {
		_, err := childOf(s.api.pid(), warmParent)
		return errors.Is(err, errNoChild), nil
	})
	if err != nil {
		return nil, err
	}
	return n.createHere(ctx, s)
}

// createIn is the body of a create of the lab that is laid out in a directory.
func createIn(dir string) ([]byte, error) {
	return json.Marshal(map[string]any{"action": jobs.Create, "workdir": dir, "topologyPath": "topology.yml"})
}

// createHere posts a create of the sample lab and follows its log to the end.
func (n *netlab) createHere(ctx context.Context, s *system) (sample, error) {
	return n.createOf(ctx, s, n.sampleLab())
}

// createOf is createHere of the lab of a topology.
func (n *netlab) createOf(ctx context.Context, s *system, topology string) (sample, error) {
	dir, err := n.newLab(topology)
	if err != nil {
		return nil, err
	}
	body, err := createIn(dir)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	job, err := s.submit(ctx, body)
	if err != nil {
		return nil, err
	}
	first := firsts{start: start}
	if _, err := s.follow(ctx, job.ID, first.see); err != nil {
		return nil, err
	}
	got := first.sample()
	got["end"] = milliseconds(start)
	return got, s.succeeded(ctx, job.ID)
}

// firsts takes the times of the first byte and of the first line of Netlab's own.
type firsts struct {
	start      time.Time
	byte, line float64
	text       []byte
}

func (f *firsts) see(block []byte) {
	if f.byte == 0 {
		f.byte = milliseconds(f.start)
	}
	if f.line > 0 {
		return
	}
	f.text = append(f.text, block...)
	lines := bytes.SplitAfter(f.text, []byte("\n"))
	for _, line := range lines {
		if bytes.HasSuffix(line, []byte("\n")) && !bytes.HasPrefix(line, []byte("netlab-worker: ")) {
			f.line = milliseconds(f.start)
			return
		}
	}
}

func (f *firsts) sample() sample { return sample{"byte": f.byte, "line": f.line} }

func milliseconds(since time.Time) float64 {
	return float64(time.Since(since)) / float64(time.Millisecond)
}

// endWithRuns lets the system end, and the runs of Netlab that its worker leaves behind.
func (s *system) endWithRuns() error {
	return errors.Join(s.end(), endRuns(s.workerDir()))
}

// workerDir is the data directory of the worker that runs Netlab.
func (s *system) workerDir() string { return filepath.Join(s.dir, "api", "worker") }

// endRuns ends the runs of Netlab that a worker has left behind: they outlive it.
func endRuns(dataDir string) error {
	dirs, err := filepath.Glob(filepath.Join(dataDir, "jobs", "*", "run-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		p, err := exec.Attach(dir, filepath.Base(filepath.Dir(dir)))
		if errors.Is(err, exec.ErrNotStarted) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, p.Stop(context.Background(), exec.StopOptions{Grace: exec.DefaultGrace}))
		p.Release()
	}
	return errors.Join(errs...)
}
