package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// guarded is a program that does not end by itself when the benchmark is killed.
type guarded struct {
	Path string
	Args []string
	Env  []string
	Dir  string
}

// roleGuard runs a program and kills it, and what it has started, when ctx ends. Its fact is the program's "pid".
func roleGuard(ctx context.Context, config json.RawMessage, t *talk) error {
	var g guarded
	if err := json.Unmarshal(config, &g); err != nil {
		return err
	}
	cmd := exec.Command(g.Path, g.Args...)
	cmd.Env, cmd.Dir, cmd.Stderr = g.Env, g.Dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what ended too early is said below
	}()
	if err := t.ready(facts{"pid": strconv.Itoa(cmd.Process.Pid)}); err != nil {
		return err
	}
	select {
	case <-ended:
		return fmt.Errorf("%s ended by itself: %s", g.Path, cmd.ProcessState)
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return nil
	}
}
