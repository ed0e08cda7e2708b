package jobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"netlab-runner/internal/hosts"
)

// Limits of a payload.
const (
	// MaxTimeoutSeconds is a week.
	MaxTimeoutSeconds = 7 * 24 * 60 * 60
	// MaxTopologyBytes bounds a topology, inline or fetched.
	MaxTopologyBytes = 4 << 20

	maxMultilabID = 199 // the plugin makes the network 192.168.<id>.0/24 of it
	maxPlugins    = 32
	maxPlugin     = 128
	maxLabels     = 32
)

// Payload is the parsed body of POST /jobs: the request, and beside it what must not be shown.
type Payload struct {
	Request Request
	// Secrets are the values of the environment other than NETLAB_*, by name; nil where there are none.
	Secrets map[string]string
	// Topology is the text of the inline topology.
	Topology string
	// TopologyURL is where the host fetches the topology, with its query, which may be secret.
	TopologyURL string
	// Bundle is the archive with the lab's files, nil where none came.
	Bundle []byte
	// Warnings say what was accepted and yet will not do what it seems to. Never nil.
	Warnings []string
}

var (
	userName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)
	elementName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}$`)
	pluginName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$`)
	instance    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	wholeNumber = regexp.MustCompile(`^[0-9]{1,18}$`)
	labelKey    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]{0,62}$`)
	labelValue  = regexp.MustCompile(`^[A-Za-z0-9_.:/@+-]{0,63}$`)
)

// ParsePayload reads the body of POST /jobs, a JSON object. It checks all that can be told without the host; Place checks the
// rest. A body that cannot become a job is an *Invalid with every fault. Unknown fields are accepted with a warning; a field
// that means nothing for the action is accepted.
func ParsePayload(body []byte) (*Payload, error) { return ParseWithBundle(body, nil) }

// ParseWithBundle is ParsePayload for a job that comes with the lab's files, as an archive, beside it. The archive itself is
// not looked at.
func ParseWithBundle(body, bundle []byte) (*Payload, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	p := f.payload(bundle)
	if err := f.err(); err != nil {
		return nil, err
	}
	p.Warnings = append([]string{}, f.warnings...)
	return p, nil
}

// PayloadFields lists the fields that a payload may have, by their names in JSON.
func PayloadFields() []string {
	f := newFields(0)
	f.payload(nil)
	return f.asked
}

// payload asks for every field. Where there are faults, what it returns is of no use.
func (f *fields) payload(bundle []byte) *Payload {
	p := &Payload{}
	q := &p.Request
	q.Action = f.action()
	q.User = f.named("user", userName, "1 to 64 letters, digits, '_', '.', '@' and '-', not first one of the last three")
	q.Workspace = f.workspace()
	q.Deployment = f.element("deployment")
	q.WorkspaceRoot = f.absolute("workspaceRoot")
	q.Workdir = f.absolute("workdir")
	workdir, _ := q.workdir()
	if workdir == "" && !f.faulty("user", "workspaceRoot", "workdir") {
		f.fault("workdir", "is missing: send workdir, or workspaceRoot, or user, whose /home/<user>/netlab is then the workspaceRoot")
	}
	if q.Workdir == "" && (q.Workspace == "") != (q.Deployment == "") && !f.faulty("workspace", "project", "deployment") {
		f.warn("of workspace and deployment only one is given: the working directory is the workspaceRoot itself")
	}
	q.Plugin = f.plugins()
	q.MultilabID = f.multilabID()
	q.Instance = f.instance()
	q.StateRoot = f.absolute("stateRoot")
	q.TopologyPath = f.topologyPath(workdir)
	if q.Action.starts() {
		n := labNumber(q.Instance)
		if q.MultilabID != "" && n != "" && n != q.MultilabID {
			f.warn("instance is %s and multilabId is %s: the lab gets the latter", n, q.MultilabID)
		}
		q.MultilabID = cmp.Or(q.MultilabID, n)
	}
	p.TopologyURL = f.topologyURL()
	q.TopologyURL = shownURL(p.TopologyURL)
	if p.Topology = f.topology(); p.Topology != "" {
		q.Topology = contentOf([]byte(p.Topology))
	}
	if q.TopologyPath != "" && (p.TopologyURL != "" || p.Topology != "") && q.Action.starts() {
		f.warn("topologyPath is ignored, since the topology itself comes with the job: send one of the two")
	}
	if p.Bundle = f.bundle(bundle, q.Action); p.Bundle != nil {
		q.Bundle = contentOf(p.Bundle)
	}
	q.CollectOutput = f.collected("collectOutput", workdir)
	q.CollectTar = f.collected("collectTar", workdir)
	q.CollectCleanup = f.flag("collectCleanup")
	if tarball, output := q.Tarball(), q.Output(); tarball == output {
		f.fault("collectTar", "%s is the directory that is collected into: name another file", shown(tarball))
	} else if q.CollectCleanup && strings.HasPrefix(tarball, output+"/") {
		f.fault("collectTar", "%s lies in %s, which collectCleanup removes: name a file outside of it", shown(tarball), shown(output))
	}
	q.Cleanup = f.flag("cleanup")
	q.Environment, p.Secrets = f.environment()
	q.TimeoutSeconds = f.number("timeoutSeconds", MaxTimeoutSeconds)
	q.Host = f.host()
	q.Labels = f.labels()
	f.warnUnknown()
	return p
}

func (f *fields) action() Action {
	a := Action(strings.ToLower(f.word("action")))
	if a == "" {
		return Up
	}
	if !slices.Contains(Actions, a) {
		names := make([]string, len(Actions))
		for i, known := range Actions {
			names[i] = string(known)
		}
		f.fault("action", "%s is unknown: use one of %s", shown(string(a)), strings.Join(names, ", "))
	}
	return a
}

// named returns a word that matches the pattern, which rule says in words.
func (f *fields) named(field string, pattern *regexp.Regexp, rule string) string {
	return f.matching(field, f.word(field), pattern, rule)
}

func (f *fields) matching(field, s string, pattern *regexp.Regexp, rule string) string {
	if s != "" && !pattern.MatchString(s) {
		f.fault(field, "%s is not valid: use %s", shown(s), rule)
		return ""
	}
	return s
}

// element returns a word that is one element of a path.
func (f *fields) element(field string) string {
	return f.named(field, elementName, "1 to 128 letters, digits, '_', '.', '+', '@' and '-', first a letter, digit or '_'")
}

// workspace also goes by the name "project".
func (f *fields) workspace() string {
	workspace, project := f.element("workspace"), f.element("project")
	switch {
	case workspace == "":
		return project
	case project != "" && project != workspace:
		f.fault("project", "is another name of workspace and differs from it: send one of them")
	}
	return workspace
}

func (f *fields) plugins() []string {
	var plugins []string
	names := f.list("plugin")
	if len(names) > maxPlugins {
		// Not one by one: a body may hold a million.
		f.fault("plugin", "names %d plugins: use at most %d", len(names), maxPlugins)
		return nil
	}
	for _, name := range names {
		switch {
		case !pluginName.MatchString(name) || len(name) > maxPlugin:
			f.fault("plugin", "%s is not the name of a plugin: use at most %d letters, digits, '_' and '.'", shown(name), maxPlugin)
		case !slices.Contains(plugins, name):
			plugins = append(plugins, name)
		}
	}
	return plugins
}

// starts says whether the action makes something of a topology.
func (a Action) starts() bool { return a == Up || a == Create || a == Restart || a == Validate }

// labNumber is an instance that is a multilab id: clients send a lab's number as its instance, too.
func labNumber(instance string) string {
	if n, err := strconv.Atoi(instance); err == nil && n >= 1 && n <= maxMultilabID {
		return strconv.Itoa(n)
	}
	return ""
}

func contentOf(data []byte) *Content {
	sum := sha256.Sum256(data)
	return &Content{Bytes: len(data), SHA256: hex.EncodeToString(sum[:])}
}

// bundle takes in the archive that came beside the payload.
func (f *fields) bundle(data []byte, a Action) []byte {
	const field = "bundle"
	switch {
	case data == nil:
		return nil
	case !a.starts():
		f.fault(field, "means nothing for %s: send it with up, create, restart or validate", a)
		return nil
	case f.given("topology") || f.given("topologyUrl"):
		f.fault(field, "is given together with topology or topologyUrl: put the topology into the bundle and name it in topologyPath")
		return nil
	}
	return data
}

func (f *fields) multilabID() string {
	if id := f.number("multilabId", maxMultilabID); id > 0 {
		return strconv.Itoa(id)
	}
	return ""
}

// number returns a whole number from 1 to the limit, 0 where it is absent.
func (f *fields) number(field string, limit int) int {
	s := f.token(field)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > limit {
		f.fault(field, "%s is not valid: use a whole number from 1 to %d", shown(s), limit)
		return 0
	}
	return n
}

func (f *fields) instance() string {
	if raw, ok := f.members["instance"]; ok && kind(raw) == "a number" && !wholeNumber.MatchString(numeral(raw)) {
		f.asked = append(f.asked, "instance")
		f.fault("instance", "%s is not valid: use a whole number, or the name of the lab as a string", shown(string(raw)))
		return ""
	}
	return f.matching("instance", f.token("instance"), instance,
		"1 to 64 letters, digits, '_', '.' and '-', first a letter, digit or '_'")
}

func (f *fields) host() string {
	host := f.word("host")
	if host == "" {
		return ""
	}
	if err := hosts.ValidName(host); err != nil {
		f.fault("host", "%s is not the name of a host: use 1 to 63 letters, digits, '_' and '-'", shown(host))
	}
	return host
}

func (f *fields) labels() map[string]string {
	labels := make(map[string]string)
	for _, l := range f.pairs("labels") {
		switch {
		case !labelKey.MatchString(l.key):
			f.fault("labels", "%s is not a label: use 1 to 63 letters, digits, '_', '.', '/' and '-'", shown(l.key))
		case !labelValue.MatchString(l.value):
			f.fault("labels", "the value of %s is not valid: use at most 63 letters, digits, and '_.:/@+-'", l.key)
		default:
			labels[l.key] = l.value
		}
	}
	if len(labels) > maxLabels {
		f.fault("labels", "are %d: use at most %d", len(labels), maxLabels)
	}
	if len(labels) == 0 {
		return nil
	}
	return labels
}

// faulty says whether one of the fields has a fault.
func (f *fields) faulty(names ...string) bool {
	return slices.ContainsFunc(f.faults, func(fault Fault) bool { return slices.Contains(names, fault.Field) })
}
