package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// patience bounds the wait for what takes less than a second on an idle machine.
const patience = time.Minute

// system is netlab-api with its server embedded, in a process of its own, and the workers that were started with it.
type system struct {
	api     *child
	workers []*child
	base    string
	dir     string
	root    string // of the working directories
	client  *http.Client
}

// busOnLoopback lets the bus of an API take connections.
const busOnLoopback = "--bus-listen=127.0.0.1:0"

// startSystem starts an API whose bus listens on loopback, and returns when it is ready.
func (b *bench) startSystem(ctx context.Context, args []string, env ...string) (*system, error) {
	return b.launch(ctx, append([]string{busOnLoopback}, args...), env...)
}

// launch starts an API with an empty directory and these settings alone, and returns when it is ready.
func (b *bench) launch(ctx context.Context, args []string, env ...string) (*system, error) {
	dir, err := b.newDir("system")
	if err != nil {
		return nil, err
	}
	return b.launchIn(ctx, dir, args, env...)
}

// launchIn is launch with the directory of a system that has ended, or a new one.
func (b *bench) launchIn(ctx context.Context, dir string, args []string, env ...string) (*system, error) {
	s := &system{dir: dir, root: filepath.Join(dir, "labs"), client: &http.Client{Transport: &http.Transport{}}}
	err := os.MkdirAll(s.root, 0o755)
	if err != nil {
		return nil, err
	}
	args = append([]string{"--port=0", "--data-dir=" + filepath.Join(dir, "api")}, args...)
	if s.api, err = b.start(ctx, "api", args, env...); err != nil {
		return nil, err
	}
	s.base = "http://" + s.api.facts["address"]
	err = s.eventually(ctx, "netlab-api is ready", func() (bool, error) {
		resp, err := s.open(ctx, http.MethodGet, "/readyz", nil)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// startNoopSystem starts an API and so many workers like w, each in a process and as a host of its own.
func (b *bench) startNoopSystem(ctx context.Context, count int, w noopWorker) (*system, error) {
	s, err := b.startSystem(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := range count {
		w.Hosts = []string{"bench-" + strconv.Itoa(i+1)}
		if err := b.addNoopWorkers(ctx, s, s.api, w); err != nil {
			return nil, errors.Join(err, s.end())
		}
	}
	if err := s.awaitHosts(ctx, count); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// addNoopWorkers starts a process with the workers of w, at the bus of the server.
func (b *bench) addNoopWorkers(ctx context.Context, s *system, server *child, w noopWorker) error {
	var err error
	if w.DataDir, err = b.newDir("workers"); err != nil {
		return err
	}
	w.Root, w.Bus, w.Creds = s.root, server.facts["bus"], server.facts["creds"]
	c, err := b.start(ctx, "worker", w)
	if err != nil {
		return err
	}
	s.workers = append(s.workers, c)
	return nil
}

// end lets all processes of the system end.
func (s *system) end() error {
	s.client.CloseIdleConnections()
	var errs []error
	for _, w := range s.workers {
		errs = append(errs, w.end())
	}
	return errors.Join(append(errs, s.api.end())...)
}

// processes are all of the system's.
func (s *system) processes() []*child { return append([]*child{s.api}, s.workers...) }

// awaitHosts returns when so many hosts are online.
func (s *system) awaitHosts(ctx context.Context, count int) error {
	return s.eventually(ctx, fmt.Sprintf("%d hosts are online", count), func() (bool, error) {
		var list struct {
			Hosts []hosts.Host `json:"hosts"`
		}
		if err := s.get(ctx, "/hosts", &list); err != nil {
			return false, err
		}
		online := 0
		for _, h := range list.Hosts {
			if h.Online {
				online++
			}
		}
		return online >= count, nil
	})
}

// longestPause is between two questions where an answer has taken long: one that waits for the API to have read its jobs, say, of
// which four times as long would be most of what is measured.
const longestPause = 50 * time.Millisecond

// eventually asks again and again, with pauses that are short beside all that is measured with it, but so long that the asking is a
// small part of what the system does.
func (s *system) eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		began := time.Now()
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(min(max(2*time.Millisecond, 4*time.Since(began)), longestPause)):
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, ctx.Err())
		}
	}
}

func (s *system) open(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return s.client.Do(req)
}

// get reads a JSON answer with status 200.
func (s *system) get(ctx context.Context, path string, value any) error {
	return s.exchange(ctx, http.MethodGet, path, nil, http.StatusOK, value)
}

// submit posts a job.
func (s *system) submit(ctx context.Context, body []byte) (job jobs.Job, err error) {
	err = s.exchange(ctx, http.MethodPost, "/jobs", body, http.StatusAccepted, &job)
	return job, err
}

func (s *system) exchange(ctx context.Context, method, path string, body []byte, status int, value any) error {
	resp, err := s.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != status {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return json.Unmarshal(text, value)
}

// awaitDone returns when no job is queued or running any more. What is queued may run a moment later, so running jobs are asked for last;
// and first, since what a queued one waits for takes the API the longer the more there are.
func (s *system) awaitDone(ctx context.Context) error {
	return s.eventually(ctx, "every job has ended", func() (bool, error) {
		for _, state := range []jobs.State{jobs.Running, jobs.Queued, jobs.Running} {
			var list struct {
				Jobs []jobs.Job `json:"jobs"`
			}
			if err := s.get(ctx, "/jobs?limit=1&state="+string(state), &list); err != nil || len(list.Jobs) > 0 {
				return false, err
			}
		}
		return true, nil
	})
}

// succeeded checks that a job has.
func (s *system) succeeded(ctx context.Context, id string) error {
	var job jobs.Job
	if err := s.get(ctx, "/jobs/"+id, &job); err != nil {
		return err
	}
	if job.State == jobs.Success {
		return nil
	}
	why := ""
	if job.Error != nil {
		why = *job.Error
	}
	return fmt.Errorf("job %s is %s: %s", id, job.State, why)
}

// createJob is the body of a create with its topology inline, in the working directory name.
func (s *system) createJob(name string) []byte {
	body, err := json.Marshal(map[string]any{
		"action": jobs.Create, "workdir": filepath.Join(s.root, name), "topology": "provider: external\nnodes: [ r1, r2 ]\n",
	})
	if err != nil {
		panic(err) // strings alone
	}
	return body
}
