package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// facts are what a child says once it is ready: addresses, files.
type facts map[string]string

// child is this program once more, in one of its roles. It ends when its standard input does, so it outlives nobody.
type child struct {
	role  string
	facts facts

	cmd   *exec.Cmd
	input io.WriteCloser
	out   *json.Decoder
	stop  func() bool
}

// instruction is what a child is told on its command line.
type instruction struct {
	Log     string          `json:"log"` // a file
	Profile string          `json:"profile,omitempty"`
	Config  json.RawMessage `json:"config"`
}

const (
	endTimeout = 20 * time.Second
	roleWord   = "role"
)

// start runs this program in a role and returns when it is ready. env is added to the environment.
func (b *bench) start(ctx context.Context, role string, config any, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var in instruction
	if in.Config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	b.started++
	in.Log = filepath.Join(b.temporary, fmt.Sprintf("%d-%s.log", b.started, role))
	if b.profile != "" {
		in.Profile = filepath.Join(b.profile, fmt.Sprintf("%s-%d.pprof", role, b.started))
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	c := &child{role: role, cmd: exec.Command(self, roleWord, role, string(text))}
	c.cmd.Env = append(cleanEnvironment(), env...)
	c.cmd.Stderr = os.Stderr
	// Ctrl-C is for the parent alone, which then ends its children in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(bufio.NewReader(output))
	c.stop = context.AfterFunc(ctx, func() { _ = c.input.Close() })
	if err := c.out.Decode(&c.facts); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", role, err), c.end())
	}
	return c, nil
}

// cleanEnvironment is this process's without the settings of Netlab and of the programs.
func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "NETLAB_") {
			env = append(env, e)
		}
	}
	return env
}

// ask sends the child a question and waits for its answer.
func (c *child) ask(question, answer any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := c.input.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("%s: %w", c.role, err)
	}
	if err := c.out.Decode(answer); err != nil {
		return fmt.Errorf("%s gave no answer: %w", c.role, err)
	}
	return nil
}

// end lets the child end, and kills it where it does not.
func (c *child) end() error {
	c.stop()
	_ = c.input.Close()
	timer := time.AfterFunc(endTimeout, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.role, err)
	}
	return nil
}

// pid is the process that is measured: the child's, or that of the program which it guards.
func (c *child) pid() int {
	if pid, err := strconv.Atoi(c.facts["pid"]); err == nil {
		return pid
	}
	return c.cmd.Process.Pid
}

// cpu is the processor time that the child has used so far.
func (c *child) cpu() (time.Duration, error) { return processorTime(c.pid()) }

// cpuMilliseconds is the same in milliseconds.
func (c *child) cpuMilliseconds() (float64, error) {
	used, err := c.cpu()
	return float64(used) / float64(time.Millisecond), err
}

// memory is a field of the child's memory, in MiB.
func (c *child) memory(field string) (float64, error) { return memoryOf(c.pid(), field) }
