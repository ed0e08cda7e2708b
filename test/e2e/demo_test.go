package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// The demo ends well, leaves nothing running, and the lines that it prints for doing the same by hand work.
func TestDemo(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"bin/netlab-api", "bin/nats"} {
		if !exists(t, root, tool) {
			t.Fatalf("no %s: run make build", tool)
		}
	}
	demo := exec.CommandContext(t.Context(), standins.Python(t), filepath.Join(root, "scripts", "demo"))
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	printed := string(out)
	for _, want := range []string{"Created provider configuration file: clab.yml", `"state": "success"`, "  netlab.snapshot.yml\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, printed)
		}
	}
	// What was just getting Netlab ready ends a moment after the service.
	left := processesWith(t, filepath.Join(root, ".run", "demo"))
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left = processesWith(t, filepath.Join(root, ".run", "demo"))
	}
	if len(left) > 0 {
		t.Errorf("left running: %q", left)
	}

	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the lines to do it by hand are for curl, which is not on this machine")
	}
	_, hand, ok := strings.Cut(printed, "make run\n")
	if !ok {
		t.Fatalf("no lines to do it by hand in\n%s", printed)
	}
	// The same service as make run's, with its data beside others' and on ports that are free.
	f := newFleet(t)
	port := freePort(t)
	a := f.startAPI(append(f.environment("home"), "NETLAB_API_DATA_DIR="+f.path("data"), "NETLAB_API_PORT=0",
		"NETLAB_API_WITH_WORKER=true", "NETLAB_BUS_LISTEN=127.0.0.1:"+port))
	a.awaitReady(1)
	hand = strings.NewReplacer(
		"http://127.0.0.1:8090", a.base, "nats://127.0.0.1:4222", "nats://127.0.0.1:"+port,
		filepath.Join(root, ".run", "bus.nk"), f.path("data", "bus.nk"), filepath.Join(root, ".run", "labs"), f.root,
	).Replace(hand)
	lines := strings.Split(strings.TrimSpace(hand), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	shell := func(line string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "bash", "-c", line).Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
	shell(lines[0])
	subscriber := exec.CommandContext(t.Context(), "bash", "-c", "exec "+strings.TrimSpace(lines[1]))
	seen, err := os.Create(f.path("seen"))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	subscriber.Stdout, subscriber.Stderr = seen, seen
	if err := subscriber.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = subscriber.Process.Kill(); _ = subscriber.Wait() }()
	awaitFile(t, seen.Name(), "Subscribing on netlab.jobs.>")

	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(shell(lines[2]))[1]
	log := shell(strings.Replace(lines[4], "ID", id, 1))
	if !strings.Contains(log, "Created provider configuration file: clab.yml") {
		t.Errorf("log by hand:\n%s", log)
	}
	if list := shell(lines[3]); !strings.Contains(list, id) {
		t.Errorf("list by hand: %s", list)
	}
	if job, _ := a.finish(t, id); job.State != jobs.Success {
		t.Errorf("%s", job.State)
	}
	// The stock client shows the life of the job readably: the log's own lines, and the last state.
	awaitFile(t, seen.Name(), `"state":"success"`)
	content, err := os.ReadFile(seen.Name())
	if err != nil {
		t.Fatal(err)
	}
	// A line that was written in parts may come in several messages; the client ends each with an empty line.
	shown := ""
	for _, message := range strings.Split(string(content), "\n[#") {
		headers, body, _ := strings.Cut(message, "\n\n")
		if strings.Contains(headers, id+".log\"\n") {
			shown += body
		}
	}
	words := func(text string) string { return strings.Join(strings.Fields(text), "") }
	if words(shown) != words(log) {
		t.Errorf("the subscriber has seen %q of the log %q", shown, log)
	}
}
