// Package e2e_test runs the built programs as an operator would: real server, real Netlab, HTTP over a socket.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaries is where TestMain has built the programs.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "netlab-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaries = dir
		for name, pkg := range map[string]string{
			"netlab-api":    "netlab-runner/cmd/api",
			"netlab-worker": "netlab-runner/cmd/worker",
			"netlab-graph":  "netlab-runner/cmd/graph",
			"nats-server":   "github.com/nats-io/nats-server/v2",
		} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
			build.Stderr = os.Stderr
			if err := build.Run(); err != nil {
				fmt.Fprintln(os.Stderr, "building", name+":", err)
				return 1
			}
		}
		return m.Run()
	}())
}
