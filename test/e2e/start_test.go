package e2e_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// once runs a program that is to end by itself and returns what it wrote and its exit code.
func once(t *testing.T, name string, env []string, args ...string) (output string, exitCode int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, name), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]string{"netlab-api": "NETLAB_API_PORT", "netlab-worker": "NETLAB_WORKER_ROOTS"} {
		if out, code := once(t, name, nil, "--help"); code != 0 || !strings.Contains(out, setting) {
			t.Errorf("%s --help: exit code %d\n%s", name, code, out)
		}
		if out, code := once(t, name, nil, "-h"); code != 0 || !strings.Contains(out, setting) {
			t.Errorf("%s -h: exit code %d\n%s", name, code, out)
		}
		if out, code := once(t, name, nil, "--version"); code != 0 || !strings.Contains(out, "dev") {
			t.Errorf("%s --version: exit code %d, %s", name, code, out)
		}
	}
}

// What cannot work is said at once, with the setting and all faults together.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	data := "NETLAB_API_DATA_DIR=" + t.TempDir()
	tests := []struct {
		name, program string
		env           []string
		args          []string
		says          []string
	}{
		{"unknown variable", "netlab-api", []string{data, "NETLAB_API_PROT=1"}, nil, []string{"NETLAB_API_PROT", "NETLAB_API_PORT"}},
		{"unknown flag", "netlab-api", []string{data}, []string{"--prot=1"}, []string{"--prot"}},
		{"all faults", "netlab-api", []string{data, "NETLAB_API_PORT=x", "NETLAB_BUS_SYNC=never"}, nil, []string{"NETLAB_API_PORT", "NETLAB_BUS_SYNC"}},
		{"open to others", "netlab-api", []string{data}, []string{"--bind=0.0.0.0"}, []string{"NETLAB_API_TOKEN", "NETLAB_API_TLS_CERT"}},
		{"port taken", "netlab-api", []string{data, "NETLAB_API_PORT=" + port}, nil, []string{"NETLAB_API_PORT"}},
		{"data dir", "netlab-api", []string{"NETLAB_API_DATA_DIR=" + file, "NETLAB_API_PORT=0"}, nil, []string{"NETLAB_API_DATA_DIR"}},
		{"no bus", "netlab-worker", []string{"NETLAB_WORKER_DATA_DIR=" + t.TempDir()}, nil, []string{"NETLAB_BUS_URL"}},
		{"remote bus without credentials", "netlab-worker", []string{"NETLAB_WORKER_DATA_DIR=" + t.TempDir(), "NETLAB_BUS_URL=nats://192.0.2.1:4222"}, nil, []string{"NETLAB_BUS_CREDS"}},
		{"worker data dir", "netlab-worker", []string{"NETLAB_WORKER_DATA_DIR=" + file, "NETLAB_BUS_URL=nats://127.0.0.1:1"}, nil, []string{"NETLAB_WORKER_DATA_DIR"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, code := once(t, test.program, test.env, test.args...)
			if code == 0 {
				t.Errorf("it started and ended well: %s", out)
			}
			for _, want := range test.says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not name %s: %s", want, out)
				}
			}
		})
	}
}

func TestStartUpLineSaysWhatWasTaken(t *testing.T) {
	t.Parallel()
	f := single(t, "NETLAB_API_TOKEN=")
	f.any().expect(`netlab-api dev starts.* api\.port="0 \(environment\)".* worker\.slots="2 \(environment\)"`)
}

func TestTwoAPIsOnOneDataDir(t *testing.T) {
	t.Parallel()
	f := single(t)
	out, code := once(t, "netlab-api", []string{"NETLAB_API_DATA_DIR=" + f.path("data"), "NETLAB_API_PORT=0"})
	if code == 0 || !strings.Contains(out, "NETLAB_API_DATA_DIR") || !strings.Contains(out, "used by another netlab-api") {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// A second worker of one name says so and takes nothing, until the first is gone.
func TestTwoWorkersOfOneName(t *testing.T) {
	t.Parallel()
	f := stepFleet(t)
	a, first := f.any(), f.startWorker("alpha")
	a.awaitReady(1)
	twin := launch(t, "netlab-worker", append(f.environment("home-twin"), "NETLAB_WORKER_DATA_DIR="+f.path("twin"),
		"NETLAB_WORKER_HOST=alpha", "NETLAB_BUS_URL="+f.busURL))
	twin.expect(`host name \\"alpha\\" is held by another worker.*NETLAB_WORKER_HOST`)
	a.run(t, jobs.Success, object{"action": "create", "workdir": f.lab("x", "frr3")})
	if entries, err := os.ReadDir(f.path("twin", "jobs")); err != nil || len(entries) > 0 {
		t.Errorf("the twin took %v (%v)", entries, err)
	}
	// A second one on the same data does not even start.
	out, code := once(t, "netlab-worker", []string{"NETLAB_WORKER_DATA_DIR=" + f.path("twin"), "NETLAB_WORKER_HOST=beta", "NETLAB_BUS_URL=" + f.busURL})
	if code == 0 || !strings.Contains(out, "used by another worker") {
		t.Errorf("on the same data: exit code %d, %s", code, out)
	}

	first.stop()
	twin.expect("host announced.*host=alpha")
	// The API may not have seen yet that the first one is gone, or not yet the twin.
	identity, err := os.ReadFile(f.path("twin", "identity"))
	if err != nil {
		t.Fatal(err)
	}
	a.awaitHosts(t, func(list []hosts.Host) bool {
		return len(list) == 1 && list[0].Online && list[0].Identity == strings.TrimSpace(string(identity))
	})
	a.run(t, jobs.Success, object{"action": "create", "workdir": f.path("labs", "x")})
}
