package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/clients"
)

// sockets counts the program's open sockets.
func (p *program) sockets() (n int) {
	p.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		// One may be closed meanwhile.
		if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// Clients open a connection for each request, ask for it to be kept, and never use it again. It is the server that closes them.
func TestConnectionsThatNobodyUsesAgain(t *testing.T) {
	t.Parallel()
	const connections = 500
	t.Run("they are many", func(t *testing.T) {
		t.Parallel()
		f := single(t, "NETLAB_API_IDLE_TIMEOUT=1m")
		a := f.any()
		before := a.sockets()
		idle := make([]net.Conn, connections)
		for i := range idle {
			idle[i] = a.askOnce(t)
		}
		if n := a.sockets() - before; n < connections-10 { // some that there were before have gone
			t.Errorf("%d more sockets, want the %d that are kept", n, connections)
		}
		// The next ones are served beside them, and the service stops in spite of them.
		job, _ := a.run(t, jobs.Success, object{"action": "status", "workdir": f.root + "/none"})
		task := &clients.Task{Server: a.asBasic(), Slack: 3}
		if o, err := task.Follow(t.Context(), job.ID); err != nil || len(o.Missed) > 0 {
			t.Errorf("%+v, %v", o, err)
		}
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the service took %s to stop", took)
		}
		for _, c := range idle {
			awaitEnd(t, c)
		}
	})
	t.Run("they end", func(t *testing.T) {
		t.Parallel()
		f := single(t, "NETLAB_API_IDLE_TIMEOUT=1s")
		a := f.any()
		a.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		before := a.sockets()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for range connections / 10 {
					c := a.askOnce(t)
					all.Go(func() { awaitEnd(t, c) })
				}
			})
		}
		all.Wait()
		for end := time.Now().Add(patience); a.sockets() > before+5; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d sockets, before %d", a.sockets(), before)
			}
		}
		// One on which a request goes on for longer than that is not idle.
		dir := f.chatter("long", object{"lines": 1, "gate": "gate"})
		job := a.submit(t, object{"action": "create", "workdir": dir})
		response := a.open(t, "GET", "/jobs/"+job.ID+"/log?follow=true", nil)
		defer response.Body.Close()
		a.awaitLog(t, job.ID, "chatter 1 of ")
		time.Sleep(1500 * time.Millisecond) // longer than an idle connection lives
		openGate(t, dir)
		if ended, log := a.finish(t, job.ID); ended.State != jobs.Success {
			t.Errorf("%s\n%s", ended.State, log)
		} else if got := readAll(t, response); got != log {
			t.Errorf("the stream had %d bytes, want %d", len(got), len(log))
		}
	})
}

// askOnce asks for the health over a connection that then stays as it is.
func (a *api) askOnce(t *testing.T) net.Conn {
	t.Helper()
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address := strings.TrimPrefix(a.base, "http://")
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n", address); err != nil {
		t.Error(err)
	}
	answer := make([]byte, 4096)
	n := 0
	for !strings.HasSuffix(string(answer[:n]), "}\n") {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		more, err := c.Read(answer[n:])
		if n += more; err != nil {
			t.Errorf("%v after %q", err, answer[:n])
			return c
		}
	}
	if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200 ") || strings.Contains(strings.ToLower(string(answer[:n])), "connection: close") {
		t.Errorf("%q", answer[:n])
	}
	return c
}

// awaitEnd waits until the server has closed the connection, without another word.
func awaitEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if c == nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("%d bytes, %v, want the end", n, err)
	}
}
