package jobs

import (
	"cmp"
	"strings"
)

// Request is what was asked for, as accepted and as shown: trimmed and cleaned, secret values masked, an inline topology as
// its size and hash. Nothing in it is secret. But for the action, no default is filled in.
type Request struct {
	Action Action `json:"action"`
	User   string `json:"user,omitempty"`
	// Workspace and Deployment are one path element each.
	Workspace  string `json:"workspace,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	// WorkspaceRoot, Workdir and StateRoot are absolute.
	WorkspaceRoot string   `json:"workspaceRoot,omitempty"`
	Workdir       string   `json:"workdir,omitempty"`
	Plugin        []string `json:"plugin,omitempty"`
	// MultilabID is a decimal number, 1 to 199.
	MultilabID string `json:"multilabId,omitempty"`
	// Instance is Netlab's name for a running lab.
	Instance  string `json:"instance,omitempty"`
	StateRoot string `json:"stateRoot,omitempty"`
	// TopologyPath, CollectOutput and CollectTar are relative to the working directory and below it.
	TopologyPath string `json:"topologyPath,omitempty"`
	// TopologyURL is without its query, which may be secret.
	TopologyURL string   `json:"topologyUrl,omitempty"`
	Topology    *Content `json:"topology,omitempty"`
	// Bundle is the archive with the lab's files.
	Bundle         *Content `json:"bundle,omitempty"`
	CollectOutput  string   `json:"collectOutput,omitempty"`
	CollectTar     string   `json:"collectTar,omitempty"`
	CollectCleanup bool     `json:"collectCleanup,omitempty"`
	Cleanup        bool     `json:"cleanup,omitempty"`
	// Environment has the values of NETLAB_* in clear, every other one as Masked.
	Environment map[string]string `json:"environment,omitempty"`
	// TimeoutSeconds counts from the start of the run, 1 to MaxTimeoutSeconds; 0 is the worker's default.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// Host is where the job must run; Labels are what the host must bear.
	Host   string            `json:"host,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Output is the directory that a collect makes: Netlab's own default where CollectOutput names none.
func (q *Request) Output() string { return cmp.Or(q.CollectOutput, "config") }

// Tarball is the file that a collect makes, empty for none: as Netlab has it, CollectTar with ".tar.gz" behind it where it has
// no ".tar" in it. A name in ".tgz" is as good as it is.
func (q *Request) Tarball() string {
	if q.CollectTar == "" || strings.Contains(q.CollectTar, ".tar") || strings.HasSuffix(q.CollectTar, ".tgz") {
		return q.CollectTar
	}
	return q.CollectTar + ".tar.gz"
}

// Masked stands for a secret value.
const Masked = "***"

// Content tells one inline topology, or one bundle, from another without showing it.
type Content struct {
	// Bytes is the length.
	Bytes int `json:"bytes"`
	// SHA256 in hexadecimal.
	SHA256 string `json:"sha256"`
}
