package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/jobs"
)

// teller is a plugin that tells what it was given: half a secret, then at a gate, then the rest, and all of it in the error.
const teller = `import os, time
from netsim.utils import log

def say(data):
    while data:
        data = data[os.write(1, data):]

def init(topology):
    token, key = os.environb[b"API_TOKEN"], os.environb[b"PRIVATE_KEY"]
    say(b"short " + os.environb[b"PIN"] + b" number " + os.environb[b"NUMBER"] + b" home " + os.environb[b"HOME"] + b"\n")
    say(b"token " + token + b" twice " + token + token + b" key " + key + b" end\n")
    for filling in range(64):
        say(b"." * (4096 - len(token) // 2 - filling) + token + b"\n")
    say(b"begins " + token[:9])
    with open("gate.reached", "w"):
        pass
    while not os.path.exists("gate"):
        time.sleep(0.02)
    say(token[9:] + b" ends\n")
    log.error("cannot log in with " + token.decode() + " at the portal", log.IncorrectValue, "teller")
`

// secrets are the values of one request, each of which must not be seen.
type secrets []string

// in lists the secrets that the data has in it, in clear or in a coat that hides nothing.
func (s secrets) in(data []byte) (found []string) {
	for _, secret := range s {
		var escaped bytes.Buffer
		encoder := json.NewEncoder(&escaped)
		encoder.SetEscapeHTML(false) // as the API, the bus and the journal write it, or not
		_ = encoder.Encode(secret)
		html, _ := json.Marshal(secret)
		for form, text := range map[string]string{
			"clear": secret, "JSON": strings.Trim(strings.TrimSpace(escaped.String()), `"`), "JSON for HTML": strings.Trim(string(html), `"`), "base64": base64.StdEncoding.EncodeToString([]byte(secret))[:len(secret)], "hex": hex.EncodeToString([]byte(secret)),
		} {
			if bytes.Contains(data, []byte(text)) {
				found = append(found, fmt.Sprintf("%.9s… (%s)", secret, form))
			}
		}
	}
	return found
}

// inFiles looks at every file below the directory. While a job runs, what Netlab wrote, of which the log is made, is the worker's alone, and goes.
func (s secrets) inFiles(t *testing.T, dir string, runs bool) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // it has just gone
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		files++
		if info, err := entry.Info(); runs && entry.Name() == "output" && err == nil && info.Mode().Perm() == 0o600 {
			return nil
		}
		if found := s.in(content); found != nil {
			t.Errorf("%s has %v", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Values of the environment reach the run, and are seen nowhere else.
func TestEnvironmentIsSecret(t *testing.T) {
	t.Parallel()
	forBothShapes(t, func(t *testing.T, f *fleet) {
		a := f.any()
		hidden := secrets{"s3cr3t/T0ken+with=signs&\"quotes\" and spaces €", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----", "81726354"}
		values := object{"API_TOKEN": hidden[0], "PRIVATE_KEY": hidden[1], "NUMBER": json.RawMessage(hidden[2]), "PIN": "1234", "NETLAB_DEVICE": "frr", "EMPTY": ""}
		dir := f.lab("teller", "external")
		topology := external(t) + "\nplugin: [ teller ]\n"
		for name, content := range map[string]string{"topology.yml": topology, "teller.py": teller} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		bus := f.listen(t)
		status, answer := a.do(t, "POST", "/jobs", object{"action": "create", "workdir": dir, "environment": values})
		var job jobs.Job
		if err := json.Unmarshal(answer, &job); err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s", status, answer)
		}
		if found := hidden.in(answer); found != nil {
			t.Errorf("the answer has %v", found)
		}
		want := map[string]string{"API_TOKEN": "***", "PRIVATE_KEY": "***", "NUMBER": "***", "PIN": "***", "EMPTY": "***", "NETLAB_DEVICE": "frr"}
		if fmt.Sprint(job.Request.Environment) != fmt.Sprint(want) {
			t.Errorf("environment %v, want %v", job.Request.Environment, want)
		}
		if w := strings.Join(job.Warnings, "\n"); !strings.Contains(w, "PIN") || strings.Contains(w, "1234") || strings.Contains(w, "API_TOKEN") {
			t.Errorf("warnings %q", job.Warnings)
		}

		// While it runs, with half a secret told.
		f.standins.GateAt(filepath.Join(dir, "gate")).Await(patience)
		a.awaitLog(t, job.ID, "begins ")
		if n := hidden.inFiles(t, f.dir, true); n < 20 {
			t.Errorf("only %d files looked at", n)
		}
		lines := processesWith(t, "")
		if run := processesOf(job.ID); len(run) == 0 || len(lines) < 3 {
			t.Errorf("processes of the run: %q", run)
		}
		for _, line := range lines {
			if found := hidden.in([]byte(line)); found != nil {
				t.Errorf("a command line has %v: %q", found, line)
			}
		}
		for _, p := range f.programs() {
			if environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid)); err != nil || hidden.in(environment) != nil {
				t.Errorf("the environment of %s: %v %v", p, hidden.in(environment), err)
			}
		}
		if partial := a.jsonLog(t, job.ID, 0); strings.Contains(partial.Log, hidden[0][:9]) {
			t.Errorf("the log has the first half of a secret:\n%s", partial.Log)
		}
		openGate(t, dir)

		ended, log := a.finish(t, job.ID)
		if ended.State != jobs.Failed || !strings.Contains(text(ended.Error), "cannot log in with *** at the portal") {
			t.Errorf("%s: %s", ended.State, text(ended.Error))
		}
		for _, line := range []string{
			"short 1234 number *** home " + f.homeOf(ended.Host) + "\n", "token *** twice ****** key *** end\n", "begins *** ends\n", "cannot log in with *** at the portal",
		} {
			if !strings.Contains(log, line) {
				t.Errorf("no %q in the log", line)
			}
		}
		if n := strings.Count(log, ".***\n"); n != 64 {
			t.Errorf("%d masks at the ends of lines, want 64", n)
		}
		for what, content := range map[string]string{
			"log": log, "log of the bus": f.busLog(t, job.ID), "JSON log": a.jsonLog(t, job.ID, 0).Log, "log as events": a.eventLog(t, job.ID, "", ended.State),
		} {
			if found := hidden.in([]byte(content)); found != nil {
				t.Errorf("the %s has %v", what, found)
			}
		}
		for _, path := range []string{"/jobs/" + job.ID, "/jobs", "/labs", "/hosts"} {
			if _, body := a.do(t, "GET", path, nil); hidden.in(body) != nil {
				t.Errorf("GET %s has %v", path, hidden.in(body))
			}
		}
		f.awaitEmptyJournal(f.journalOf(ended.Host))
		hidden.inFiles(t, f.dir, false)
		for _, p := range f.programs() {
			p.mu.Lock()
			if found := hidden.in([]byte(strings.Join(p.lines, "\n"))); found != nil {
				t.Errorf("%s wrote %v", p, found)
			}
			p.mu.Unlock()
		}
		messages := bus()
		seen := 0
		for _, m := range messages {
			if strings.HasSuffix(m.Subject, job.ID+".request") {
				seen++
			}
			if found := hidden.in(m.Data); found != nil {
				t.Errorf("a message on %s has %v", m.Subject, found)
			}
			for name, header := range m.Header {
				if found := hidden.in([]byte(strings.Join(header, " "))); found != nil {
					t.Errorf("the header %s of a message on %s has %v", name, m.Subject, found)
				}
			}
		}
		if seen == 0 {
			t.Error("the request was not seen on the bus")
		}
	})
}

// programs are all that the fleet has started, but for the server.
func (f *fleet) programs() (list []*program) {
	for _, a := range f.apis {
		list = append(list, a.program)
	}
	return append(list, f.workers...)
}

// homeOf is the home of the host's jobs.
func (f *fleet) homeOf(host string) string {
	if len(f.workers) == 0 {
		return f.path("home")
	}
	return f.path("home-" + host)
}

// journalOf is the folder of what the host's worker has not yet reported to its end.
func (f *fleet) journalOf(host string) string {
	if len(f.workers) == 0 {
		return f.path("data", "worker", "jobs")
	}
	return f.path("worker-"+host, "jobs")
}

// listen notes every message of the bus from here on. What it returns gives those so far.
func (f *fleet) listen(t *testing.T) (messages func() []*nats.Msg) {
	t.Helper()
	var mu sync.Mutex
	var list []*nats.Msg
	nc := f.connect(t)
	_, err := nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, m)
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() []*nats.Msg {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// Names that would change what runs are refused, each by its name; a name that only looks like one is not.
func TestRefusedVariables(t *testing.T) {
	t.Parallel()
	f := single(t)
	a := f.any()
	for _, names := range [][]string{
		{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "XDG_CONFIG_HOME", "SUDO_USER", "TERM"},
		{"LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "MALLOC_CHECK_", "GCONV_PATH", "LOCPATH", "OPENSSL_CONF"},
		{"BASH_ENV", "ENV", "IFS", "PROMPT_COMMAND", "PS4", "SHELLOPTS", "BASH_FUNC_ls"},
		{"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "VIRTUAL_ENV"},
		{"ANSIBLE_CONFIG", "ANSIBLE_LIBRARY", "ANSIBLE_ROLES_PATH", "ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_HOME", "ANSIBLE_INVENTORY", "ANSIBLE_LOG_PATH", "ANSIBLE_COLLECTIONS_PATH"},
		{"SSH_ASKPASS", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "PAGER", "EDITOR", "LESSOPEN"},
		{"DOCKER_HOST", "DOCKER_CONFIG", "CLAB_LABDIR_BASE", "VAGRANT_CWD"},
		{"NETLAB_API_TOKEN", "NETLAB_BUS_URL", "NETLAB_WORKER_ROOTS", "NETLAB_LAB__STATUS__FILE", "NETLAB_PROVIDERS_CLAB_TEMPLATE", "netlab_device"},
		{"1ST", "WITH-DASH", "WITH SPACE", "ÜMLAUT", "", "A\nB", strings.Repeat("X", 129)},
	} {
		environment, list := object{}, []string{}
		for _, name := range names {
			environment[name] = "a value to keep"
			list = append(list, name+"=a value to keep")
		}
		for form, variables := range map[string]any{"map": environment, "list": list} {
			status, body := a.do(t, "POST", "/jobs", object{"action": "status", "workdir": f.root + "/x", "environment": variables})
			var answer struct{ Error string }
			if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusBadRequest || strings.Contains(answer.Error, "a value to keep") {
				t.Errorf("%s: %d %s", form, status, body)
			}
			for _, name := range names {
				quoted := strings.Trim(fmt.Sprintf("%.80q", name), `"`)
				if !strings.Contains(answer.Error, quoted) {
					t.Errorf("%s: %q is not named in %s", form, name, answer.Error)
				}
			}
		}
	}
	lookalikes := object{"MY_PATH": "secret1", "HOMER": "secret2", "LDAP_TOKEN": "secret3", "ANSIBLE_VERBOSITY": "1", "GIT_AUTHOR_NAME": "secret4", "NETLAB_DEVICE": "frr", "_": "secret5"}
	job, _ := a.run(t, jobs.Success, object{"action": "status", "workdir": f.root + "/x", "environment": lookalikes})
	if len(job.Request.Environment) != len(lookalikes) || job.Request.Environment["NETLAB_DEVICE"] != "frr" {
		t.Errorf("environment %v", job.Request.Environment)
	}
}
