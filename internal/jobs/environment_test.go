package jobs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	p := parse(t, body(`"environment":{"TOKEN":" hunter22 ","EMPTY":"","_x9":"sécret","NETLAB_DEVICE":"frr","http_proxy":"http://proxy"}`))
	shown := map[string]string{"TOKEN": "***", "EMPTY": "***", "_x9": "***", "NETLAB_DEVICE": "frr", "http_proxy": "***"}
	if diff := cmp.Diff(shown, p.Request.Environment); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	secrets := map[string]string{"TOKEN": " hunter22 ", "EMPTY": "", "_x9": "sécret", "http_proxy": "http://proxy"}
	if diff := cmp.Diff(secrets, p.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if p := parse(t, body(`"environment":["NETLAB_DEVICE=frr"]`)); p.Secrets != nil {
		t.Errorf("secrets without any: %v", p.Secrets)
	}
}

// The members of an object, however it is written, are those that the standard library reads.
func TestEnvironmentAsItIsWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"A":"1"}`, "\r\n{\n\t\"A\" : \"1\" , \"B\":\"2\"\n} ", `{"A":"{,:}]","B":"\\","C":"\"","D":"\\\",","E":"e"}`,
		`{"\u0041":"\u00e4\ud800","B":"ä\n"}`, `{"A":"","B":":"}`,
	} {
		var want map[string]string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, parse(t, body(`"environment":`+text)).Secrets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{`{}`, "{ \n}", `{"A":null}`} {
		if p := parse(t, body(`"environment":`+text)); len(p.Secrets) > 0 {
			t.Errorf("%s: %v", text, p.Secrets)
		}
	}
}

func TestEnvironmentAccepts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"A", "a", "_", "HTTP_PROXY", "GIT_TOKEN", "ANSIBLE_FORKS", "ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_VERBOSITY",
		"COLUMNS", "REQUESTS_CA_BUNDLE", "path", "NETLAB_", "NETLAB_DEVICE", "NETLAB_PROVIDER", "NETLAB_PLUGIN",
		"NETLAB_MULTILAB_ID", "NETLAB_DEVICES_FRR_CLAB_IMAGE", "NETLAB_PROVIDERS_CLAB_RUNTIME", "NETLAB_APIX", "NETLAB_OUTPUTS_GRAPH_AS_CLUSTERS",
		"NETLAB_CONFIG", "NETLAB_DEBUG", strings.Repeat("x", 128),
	} {
		parse(t, body(fmt.Sprintf(`"environment":{%q:"value-1"}`, name)))
	}
	for name, value := range map[string]string{
		"NETLAB_PROVIDERS":      `{clab: {runtime: podman}}`,
		"NETLAB_PROVIDERS_CLAB": `{runtime: podman, bridge_type: [ config ]}`,
		"NETLAB_X":              "{ not: [ yaml",
		"NETLAB_Y":              "lab_status_file: no, this is a text: of two",
		"NETLAB_Z":              strings.Repeat("x", 32<<10),
	} {
		parse(t, body(`"environment":{`+quoted(name)+`:`+quoted(value)+`}`))
	}
	parse(t, body(`"environment":`+list(100, func(i int) string { return fmt.Sprintf("V%d=secret", i) })))
}

func TestEnvironmentRefuses(t *testing.T) {
	t.Parallel()
	type refused struct{ name, value, text string }
	var all []refused
	for text, names := range map[string]string{
		"not the name":          "2A A-B A.B Ä BASH_FUNC_x%% A\x00",
		"the user of the job":   "PATH HOME USER LOGNAME SHELL PWD OLDPWD TERM TERMINFO TMPDIR TMP XDG_CONFIG_HOME SUDO_ASKPASS",
		"loader":                "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES GLIBC_TUNABLES GCONV_PATH MALLOC_CHECK_ LOCPATH HOSTALIASES OPENSSL_CONF",
		"shells":                "BASH_ENV ENV IFS BASHOPTS SHELLOPTS PS4 PROMPT_COMMAND CDPATH BASH_FUNC_x",
		"interpreters":          "PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUNBUFFERED PERL5LIB PERL5OPT RUBYOPT NODE_OPTIONS NODE_PATH VIRTUAL_ENV JAVA_TOOL_OPTIONS _JAVA_OPTIONS",
		"Ansible":               "ANSIBLE_CONFIG ANSIBLE_HOME ANSIBLE_LIBRARY ANSIBLE_ROLES_PATH ANSIBLE_COLLECTIONS_PATH ANSIBLE_COLLECTIONS_PATHS ANSIBLE_MODULE_UTILS ANSIBLE_CALLBACK_PLUGINS ANSIBLE_FILTER_PLUGINS ANSIBLE_INVENTORY ANSIBLE_VAULT_PASSWORD_FILE ANSIBLE_LOCAL_TEMP ANSIBLE_LOG_PATH ANSIBLE_PLAYBOOK_DIR ANSIBLE_SSH_EXECUTABLE ANSIBLE_PYTHON_INTERPRETER",
		"start others":          "SSH_ASKPASS SSH_AUTH_SOCK GIT_SSH GIT_SSH_COMMAND GIT_CONFIG_COUNT GIT_EXEC_PATH GIT_ASKPASS PAGER EDITOR LESSOPEN",
		"not found again":       "DOCKER_HOST DOCKER_CONFIG VAGRANT_CWD",
		"of containerlab's":     "CLAB_LABDIR_BASE CLAB_NAME CLAB_RUNTIME CLAB_OWNER CLAB_TOPO CLAB_DESTROY_ALL CONTAINERLAB_RUNTIME",
		"this service":          "NETLAB_API_PASSWORD NETLAB_BUS_URL NETLAB_WORKER_ROOTS",
		"inside":                "NETLAB_ARGS_TOPOLOGY NETLAB_PACKAGE_WORKDIR NETLAB_DEVICES",
		"NETLAB_ in capitals":   "netlab_device Netlab_device netlab_lab__status__file netlab_api_password",
		"Netlab's own files":    "NETLAB_LAB__STATUS__FILE NETLAB_lab__status__file NETLAB_PATHS NETLAB_PATHS_PLUGIN NETLAB_PATHS_CUSTOM_DIRS NETLAB_SOURCES_EXTRA NETLAB_CONST_STATS__FILE NETLAB_AUTOMATION_ANSIBLE_CLEANUP NETLAB_NETLAB_CREATE_OUTPUT NETLAB_OUTPUTS_YAML_FILENAME NETLAB_PROVIDERS_CLAB_CONFIG NETLAB_PROVIDERS_CLAB_CLEANUP NETLAB_PROVIDERS_CLAB_TEMPLATE NETLAB_PROVIDERS_LIBVIRT_CLAB_FILENAME",
		"at most 32768":         "",
		"has a NUL":             "",
		"providers.clab.config": "",
	} {
		for name := range strings.FieldsSeq(names) {
			all = append(all, refused{name, "value-1", text})
		}
	}
	all = append(all,
		refused{"", "value-1", "not the name"},
		refused{strings.Repeat("x", 129), "value-1", "not the name"},
		refused{"BIG", strings.Repeat("x", 32<<10+1), "at most 32768"},
		refused{"NUL", "a\x00b", "has a NUL"},
		refused{"NETLAB_PROVIDERS", "{clab: {config: /tmp/x}}", "providers.clab.config"},
		refused{"NETLAB_PROVIDERS", "a: &x {config: /tmp/x}\nclab: *x\n", "providers.a.config"},
		refused{"NETLAB_PROVIDERS_CLAB", "<<: {config: /tmp/x}\n", "providers.clab.config"},
		refused{"NETLAB_CONST", `{"stats_file": /tmp/x}`, "const.stats_file"},
		refused{"NETLAB_X", aliasBomb(10), "the default x"},
	)
	for _, c := range all {
		got := faults(t, body(`"environment":{`+quoted(c.name)+`:`+quoted(c.value)+`}`))
		if len(got) != 1 || got[0].Field != "environment" || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%q: got %+v, want %q", c.name, got, c.text)
		}
		if strings.Contains(got[0].Text, "value-1") {
			t.Errorf("%q: the fault shows the value: %s", c.name, got[0].Text)
		}
	}

	got := faults(t, body(`"environment":`+list(101, func(i int) string { return fmt.Sprintf("V%d=secret", i) })))
	if len(got) != 1 || !strings.Contains(got[0].Text, "at most 100") {
		t.Errorf("101 variables: %+v", got)
	}
	got = faults(t, body(`"environment":`+list(5, func(i int) string { return fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 30<<10)) })))
	if len(got) != 1 || !strings.Contains(got[0].Text, "at most 131072") {
		t.Errorf("150 KiB: %+v", got)
	}
	for _, f := range faults(t, body(`"environment":["hunter22",{"A":"hunter22"},"PATH=hunter22","A B=hunter22","C=hunter22","C=hunter23"]`)) {
		if strings.Contains(f.Text, "hunter2") {
			t.Errorf("a fault shows a secret: %s", f.Text)
		}
	}
}
