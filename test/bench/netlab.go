package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// netlab is Netlab itself, with a home directory and a place for labs.
type netlab struct {
	*bench
	home, labs string
	user       string
	made       int
}

func (b *bench) newNetlab() (*netlab, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	n := &netlab{bench: b, user: me.Username}
	if n.home, err = b.newDir("home"); err != nil {
		return nil, err
	}
	n.labs, err = b.newDir("labs")
	return n, err
}

// workerArguments are those of a worker that runs it.
func (n *netlab) workerArguments() []string {
	return []string{"--worker-host=bench", "--worker-python=" + n.python, "--worker-roots=" + n.labs, "--run-as-user=" + n.user}
}

// sampleLab is the topology of three routers.
func (n *netlab) sampleLab() string {
	return filepath.Join(n.root, "test", "labs", "frr3", "topology.yml")
}

// newLab lays out the lab of a topology in a new directory.
func (n *netlab) newLab(topology string) (string, error) {
	text, err := os.ReadFile(topology)
	if err != nil {
		return "", err
	}
	n.made++
	dir := filepath.Join(n.labs, "lab"+strconv.Itoa(n.made))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "topology.yml"), text, 0o644)
}

// command is a call of the netlab script with the environment that a worker gives it. It gets a process group of its own,
// which is killed when ctx ends.
func (n *netlab) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	folder := filepath.Dir(n.python)
	cmd := exec.CommandContext(ctx, filepath.Join(folder, "netlab"), args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + n.home, "USER=bench", "LOGNAME=bench", "PWD=" + dir, "PATH=" + folder + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"TMPDIR=" + n.temporary, "LANG=C.UTF-8", "PYTHONIOENCODING=utf-8", "PYTHONUNBUFFERED=1", "COLUMNS=200", "NO_COLOR=1",
		"TERM=dumb", "CLAB_VERSION_CHECK=disable",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// createByHand runs `netlab create` as from a shell, and reads what it writes through a pipe.
func (n *netlab) createByHand(ctx context.Context) (sample, error) {
	dir, err := n.newLab(n.sampleLab())
	if err != nil {
		return nil, err
	}
	cmd := n.command(ctx, dir, "create", "topology.yml")
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	start := time.Now()
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	var line float64
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if line == 0 {
			line = milliseconds(start)
		}
		text.WriteString(lines.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("netlab create: %w\n%s", err, text.String())
	}
	return sample{"line": line, "end": milliseconds(start)}, nil
}

// upstream is a running `netlab api`.
type upstream struct {
	netlab *netlab
	guard  *child
	base   string
}

// startAPI starts `netlab api` on a port that was free a moment ago.
func (n *netlab) startAPI(ctx context.Context) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		return nil, err
	}
	u := &upstream{netlab: n, base: "http://127.0.0.1:" + port}
	cmd := n.command(ctx, n.home, "api", "--bind", "127.0.0.1", "--port", port)
	if u.guard, err = n.start(ctx, "guard", guarded{cmd.Path, cmd.Args[1:], cmd.Env, cmd.Dir}); err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err = u.exchange(ctx, http.MethodGet, "/healthz", nil, nil); err == nil {
			return u, nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("netlab api does not serve: %w", err), u.end())
		}
	}
}

func (u *upstream) end() error { return u.guard.end() }

// create posts a create and asks every 20 ms whether it has ended.
func (u *upstream) create(ctx context.Context) (sample, error) {
	dir, err := u.netlab.newLab(u.netlab.sampleLab())
	if err != nil {
		return nil, err
	}
	var job struct {
		ID, State string
		Error     *string
	}
	start := time.Now()
	request := map[string]string{"action": "create", "workdir": dir, "topologyPath": "topology.yml"}
	if err := u.exchange(ctx, http.MethodPost, "/jobs", request, &job); err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for job.State == "queued" || job.State == "running" {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		if err := u.exchange(ctx, http.MethodGet, "/jobs/"+job.ID, nil, &job); err != nil {
			return nil, err
		}
	}
	if job.State != "success" {
		why := "no reason given"
		if job.Error != nil {
			why = *job.Error
		}
		return nil, fmt.Errorf("netlab api: %s: %s", job.State, why)
	}
	return sample{"end": milliseconds(start)}, nil
}

func (u *upstream) exchange(ctx context.Context, method, path string, request, answer any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.base+path, strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
