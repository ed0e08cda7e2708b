package jobs

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"netlab-runner/internal/hosts"
)

// Limits of a show command.
const (
	maxWords     = 64
	maxWordBytes = 1024
)

// Lab is which lab a question is about. One of Workdir and Instance is there at least.
type Lab struct {
	// Instance is Netlab's id of a running lab.
	Instance string `json:"instance,omitempty"`
	// Workdir is absolute: workdir, or what workspaceRoot, user, workspace and deployment make of it.
	Workdir string `json:"workdir,omitempty"`
	// User is who is asked for a directory without a lab that was started: as of a job.
	User string `json:"user,omitempty"`
	// Host is where the lab is; empty: where its directory is, or the default.
	Host string `json:"-"`

	payload Payload
}

// Connect is the body of POST /connect.
type Connect struct {
	Lab
	// Node is the name of a node, for Netlab to find: no option and no path.
	Node string `json:"node"`
	// Show is the show command in words, without "show".
	Show []string `json:"show"`
}

// Graph is the body of POST /graph.
type Graph struct {
	Lab
	// TopologyPath is relative to the working directory and below it. Empty: that of the lab.
	TopologyPath string `json:"topologyPath,omitempty"`
	// Type is what Netlab draws: "topology", "bgp" or "isis".
	Type string `json:"type"`
}

// TopologyGraph is the type of graph that shows nodes and links.
const TopologyGraph = "topology"

// graphTypes are Netlab's.
var graphTypes = []string{TopologyGraph, "bgp", "isis"} //nolint:gochecknoglobals // a table that is never written

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// ParseConnect reads the body of POST /connect, a JSON object with these fields and any others of a job's, which mean nothing
// here. Faults are an *Invalid with all of them.
func ParseConnect(body []byte) (*Connect, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	q := &Connect{
		Node: f.named("node", nodeName, "1 to 64 letters, digits, '_', '.' and '-', first a letter, digit or '_'"),
		Show: f.show(),
	}
	if q.Node == "" && !f.faulty("node") {
		f.fault("node", "is missing: send the name of a node of the lab")
	}
	q.Lab = f.lab()
	return q, f.err()
}

// ParseGraph reads the body of POST /graph, as ParseConnect does.
func ParseGraph(body []byte) (*Graph, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	q := &Graph{Lab: f.lab(), Type: strings.ToLower(f.word("type"))}
	if q.TopologyPath = f.topologyPath(q.Workdir); q.TopologyPath != "" && q.Workdir == "" && !f.faulty("workdir") {
		f.fault("workdir", "is missing: topologyPath is relative to it")
	}
	switch {
	case f.faulty("type"):
	case q.Type == "":
		q.Type = TopologyGraph
	case !slices.Contains(graphTypes, q.Type):
		f.fault("type", "%s is unknown: use one of %s", shown(q.Type), strings.Join(graphTypes, ", "))
	}
	return q, f.err()
}

// lab reads which lab is meant. An instance alone is enough.
func (f *fields) lab() Lab {
	q := Request{
		User:      f.named("user", userName, "1 to 64 letters, digits, '_', '.', '@' and '-', not first one of the last three"),
		Workspace: f.workspace(), Deployment: f.element("deployment"), WorkspaceRoot: f.absolute("workspaceRoot"),
		Workdir: f.absolute("workdir"), Instance: f.instance(), Host: f.host(),
	}
	workdir, from := q.workdir()
	if from == "user" && q.Instance != "" {
		workdir = "" // who asks, not which lab
	}
	if workdir == "" && q.Instance == "" && !f.faulty("user", "workspaceRoot", "workdir", "instance") {
		f.fault("workdir", "is missing: send workdir, or the instance of a running lab")
	}
	q.Workdir = workdir
	return Lab{Instance: q.Instance, Workdir: workdir, User: q.User, Host: q.Host, payload: Payload{Request: q}}
}

// Place checks that the working directory, where there is one, lies below the host's roots. An *Invalid says what is wrong.
func (l *Lab) Place(h hosts.Host) error {
	if l.Workdir == "" {
		return nil
	}
	_, err := l.payload.Place(h)
	return err
}

// show reads a show command: a list of words, or one string with all of them. The word "show" in front is Netlab's own.
func (f *fields) show() []string {
	const field = "show"
	var words []string
	for _, item := range f.list(field) {
		words = append(words, strings.Fields(item)...)
	}
	if len(words) > 1 && words[0] == "show" {
		words = words[1:]
	}
	bytes := 0
	for _, word := range words {
		bytes += len(word)
	}
	switch {
	case f.faulty(field):
	case len(words) == 0:
		f.fault(field, "is missing: send the show command as a list of words, such as [\"ip\",\"route\"]")
	case len(words) > maxWords || bytes > maxWordBytes:
		f.fault(field, "is too long: use at most %d words of %d bytes together", maxWords, maxWordBytes)
	case strings.HasPrefix(words[0], "-"):
		f.fault(field, "begins with '-', which is taken for an option: begin with a word")
	default:
		for _, word := range words {
			if !plain(word) {
				f.fault(field, "%s has a quote, '\\', ';', '&', '<', '>', a '$' that is not its end, or a character that cannot be typed: leave it out", shown(word))
			}
		}
	}
	return words
}

// plain says whether the word means itself to a shell, which some devices have. A pipe is a device's own.
func plain(word string) bool {
	return utf8.ValidString(word) && !strings.ContainsAny(strings.TrimSuffix(word, "$"), "$\"'`\\;&<>\uFFFD") &&
		!strings.ContainsFunc(word, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) })
}
