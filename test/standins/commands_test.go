package standins_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"netlab-runner/test/standins"
)

const clab = `
name: lab
topology:
  nodes:
    n1: { kind: linux, image: some/image:1, mgmt-ipv4: 172.20.20.2, binds: [ "script:/run.sh" ] }
    br: { kind: bridge }
`

// Another lab, whose management network has another name and the same addresses.
const overlapping = `
name: other
mgmt: { network: other, ipv4-subnet: 172.20.20.128/25 }
topology: { nodes: { n1: { kind: linux } } }
`

// Each command is run behind the others, on one host. out and err are regular expressions.
func TestCommands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"clab.yml": clab, "other.yml": overlapping, "script": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		line     string
		code     int
		out, err string
	}{
		{"containerlab version", 0, `(?m)^    version: 0\.75\.0$`, `^$`},
		{"docker version", 0, `Version`, `^$`},
		{"docker version --format {{.Server.Version}}", 0, `^28\.\d+\.\d+\n$`, `^$`},
		{"docker image ls --format json some/image:1", 0, `"Tag": "1"`, `^$`},
		{"docker ps --format json", 0, `^$`, `^$`},
		{"brctl show br", 1, `^$`, `does not exist`},
		{"containerlab deploy -t clab.yml", 1, `^$`, `Bridge "br" .* does not exist`},
		{"sudo ip link del dev br", 1, `^$`, `Cannot find device`},
		{"sudo -n ip link add name br type bridge", 0, `^$`, `^$`},
		{"sudo ip link add name br type bridge", 2, `^$`, `File exists`},
		{"sudo ip link set dev br up", 0, `^$`, `^$`},
		{"brctl show br", 0, `br\t`, `^$`},
		{"containerlab destroy --cleanup -t clab.yml", 0, `^$`, `No containerlab containers found`},
		{"sudo ip netns exec clab-lab-n1 sh script", 1, `^$`, `Cannot open network namespace`},
		{"docker exec clab-lab-n1 /run.sh", 1, `^$`, `No such container`},
		{"sudo -E containerlab deploy -t clab.yml", 0, `│ clab-lab-n1 │ linux +│ running │ 172\.20\.20\.2 +│`, `INFO Creating container name=n1\n`},
		{"containerlab deploy -t clab.yml", 1, `^$`, `already exist`},
		{"containerlab deploy --reconfigure -t clab.yml", 0, `clab-lab-n1`, `Removed container`},
		{"containerlab inspect -t clab.yml --format json", 0, `"state": "running"`, `^$`},
		{"docker ps --format json", 0, `^\{.*"Names": "clab-lab-n1".*"Status": "Up 1 second".*\}\n$`, `^$`},
		{"docker ps -q --filter label=containerlab=other", 0, `^$`, `^$`},
		{"docker inspect --format {{.State.Status}} clab-lab-n1", 0, `^running\n$`, `^$`},
		{"docker inspect nothing", 1, `^\[\]\n$`, `No such object`},
		{"docker network inspect --format {{json.IPAM}} clab", 0, ``, `^$`},
		{"containerlab deploy -t other.yml", 1, `^$`, `Pool overlaps`},
		{"docker network rm clab", 1, `^$`, `active endpoints`},
		{"sudo ip netns exec clab-lab-n1 sh script", 0, `^$`, `^$`},
		{"sudo ip netns exec clab-lab-n1 sh missing", 2, `^$`, `cannot open missing`},
		{"docker exec clab-lab-n1 /run.sh", 0, `^$`, `^$`},
		{"docker exec clab-lab-n1 /missing.sh", 127, `^$`, `OCI runtime exec failed`},
		{"docker exec -u root -i clab-lab-n1 hostname", 0, `^n1\n$`, `^$`},
		{"docker cp clab.yml clab-lab-n1:/copy", 0, `^$`, `^$`},
		{"docker exec clab-lab-n1 cat /copy", 0, `name: lab`, `^$`},
		{"docker kill clab-lab-n1", 0, `^clab-lab-n1\n$`, `^$`},
		{"docker exec clab-lab-n1 hostname", 1, `^$`, `is not running`},
		{"docker ps --format {{.Names}}", 0, `^$`, `^$`},
		{"docker ps -a --format {{.Names}}:{{.State}}", 0, `^clab-lab-n1:exited\n$`, `^$`},
		{"docker ps -a --format {{.Label\"containerlab\"}}|{{.Label\"none\"}}|", 0, `^lab\|\|\n$`, `^$`},
		{"containerlab destroy --cleanup -t clab.yml", 0, `^$`, `Removed container`},
		{"docker network inspect clab", 1, `^\[\]\n$`, `not found`},
		{"containerlab deploy -t missing.yml", 1, `^$`, `no such file`},
		{"sudo sh -c reboot", 1, `^$`, `refuses`},
		{"sudo rm -rf /", 1, `^$`, `refuses`},
		{"sudo ip addr add 192.0.2.1/24 dev lo", 1, `^$`, `refuses`},
		{"brctl addbr other", 1, `^$`, `refuses`},
		{"docker swarm init", 1, `^$`, `knows no command`},
	} {
		r := b.run(dir, strings.Fields(test.line)...)
		if r.code != test.code || !matches(test.out, r.stdout) || !matches(test.err, r.stderr) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d, %s, %s",
				test.line, r.code, r.stdout, r.stderr, test.code, test.out, test.err)
		}
	}
	if exists(dir, "clab-lab") {
		t.Error("destroy --cleanup has left the lab's folder")
	}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

func TestShellInAContainer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	b.mustRun(dir, "docker", "run", "-d", "--name", "box", "some/image")
	for script, want := range map[string]string{
		"echo a && false || echo b; exit 3; echo c":         "a\nb\n",
		"/bin/sh -c 'echo \"x  y\" && sleep 0'":             "x  y\n",
		"( umask 77 && mkdir \"` echo /d `\" && echo d=1 )": "d=1\n",
		"# nothing\necho one\necho two > /dev/null 2>&1":    "one\ntwo\n",
		"command -v nothing; command -v python3":            "python3\n",
		"rm -rf /etc; cat /etc/passwd || echo gone":         "gone\n",
	} {
		if r := b.run(dir, "docker", "exec", "box", "sh", "-c", script); r.stdout != want {
			t.Errorf("%s: %q, want %q (stderr %q)", script, r.stdout, want, r.stderr)
		}
	}
	if r := b.run(dir, "docker", "exec", "box", "sh", "-c", "exit 3"); r.code != 3 {
		t.Errorf("exit 3: exit code %d", r.code)
	}
}

func TestParallelCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	const count = 20
	b.host.SetKnob("sudo ip link add", standins.Knob{Times: 5, Fail: 7})
	var failed sync.Map
	var group sync.WaitGroup
	for i := range count {
		cmd := b.command(dir, "sudo", "ip", "link", "add", "name", fmt.Sprintf("br%d", i), "type", "bridge")
		group.Go(func() {
			if cmd.Run() != nil {
				failed.Store(i, cmd.ProcessState.ExitCode())
			}
		})
	}
	group.Wait()
	failures := 0
	failed.Range(func(_, code any) bool {
		failures++
		return code == 7 || t.Failed()
	})
	if got := len(b.host.Bridges()); got != count-5 || failures != 5 {
		t.Errorf("%d bridges and %d failures, want %d and 5", got, failures, count-5)
	}
	if got := len(b.host.Calls("sudo ip link add")); got != count {
		t.Errorf("%d calls recorded, want %d", got, count)
	}
}

func TestKnobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	answer := "no version\n"
	b.host.SetKnob("docker version", standins.Knob{Stdout: &answer, Times: 1}, standins.Knob{Lines: 1000, Sleep: 0.2})
	if got := b.mustRun(dir, "docker", "version"); got != answer {
		t.Errorf("with an answer: %q", got)
	}
	begin := time.Now()
	r := b.run(dir, "docker", "version")
	if got := strings.Count(r.stderr, "\n"); got != 1000 || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("%d lines in %v, want 1000 in 200ms at least", got, time.Since(begin))
	}
	b.host.SetKnob("docker version")
	if r := b.run(dir, "docker", "version"); r.stderr != "" || r.stdout == answer {
		t.Errorf("without a knob: %+v", r)
	}
}

func TestStateFileFromTheEnvironment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := filepath.Join(t.TempDir(), "other.json")
	cmd := b.command(t.TempDir(), "sudo", "ip", "link", "add", "br", "type", "bridge")
	cmd.Env = append(cmd.Env, "STANDIN_STATE="+other)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if got := b.host.Bridges(); len(got) != 0 || !strings.Contains(b.read(other), `"br"`) || !exists(other+".calls") {
		t.Errorf("the change went to the wrong file: bridges %v, %s", got, b.read(other))
	}
}
