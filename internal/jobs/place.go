package jobs

import (
	"net/netip"
	"path"
	"strings"

	"netlab-runner/internal/hosts"
)

// Place returns the working directory of the job on the host: workdir, else <workspaceRoot>/<workspace>/<deployment>, else
// workspaceRoot itself, which is /home/<user>/netlab where it is not given. It checks, by their words, that the working
// directory lies below one of the host's roots, and workspaceRoot and stateRoot at or below one, and that topologyUrl points to
// no internal address which the host does not allow; if not, the error is an *Invalid with every fault. Symbolic links are for the host to check.
func (p *Payload) Place(h hosts.Host) (workdir string, err error) {
	q := &p.Request
	var faults []Fault
	add := func(field, dir, problem string) {
		faults = append(faults, Fault{Field: field, Text: shown(dir) + " " + problem})
	}
	below := "choose a directory below one of them"
	outside := "is outside the roots of host " + h.Name + " (" + strings.Join(h.Roots, ", ") + "): " + below

	workdir, from := q.workdir()
	if q.WorkspaceRoot != "" && position(h.Roots, q.WorkspaceRoot) == outsideRoots {
		add("workspaceRoot", q.WorkspaceRoot, outside)
		if from == "workspaceRoot" {
			from = "" // one fault is enough
		}
	}
	if from != "" {
		origin := "is the working directory and "
		if from == "workdir" {
			origin = ""
		}
		switch position(h.Roots, workdir) {
		case outsideRoots:
			add(from, workdir, origin+outside)
		case atRoot:
			add(from, workdir, origin+"is itself a root of host "+h.Name+": choose a directory below it")
		case belowRoot:
		}
	}
	if q.StateRoot != "" && position(h.Roots, q.StateRoot) == outsideRoots {
		add("stateRoot", q.StateRoot, outside)
	}
	if internal, _ := checkURL(p.TopologyURL); internal.IsValid() && !MayFetch(internal, prefixes(h.URLNetworks)) {
		faults = append(faults, Fault{Field: "topologyUrl", Text: internalProblem})
	}
	if len(faults) > 0 {
		return "", &Invalid{Faults: faults}
	}
	return workdir, nil
}

// prefixes reads the networks that a host states; what is none allows nothing.
func prefixes(networks []string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range networks {
		if p, err := netip.ParsePrefix(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}

type rootPosition int

const (
	outsideRoots rootPosition = iota
	atRoot
	belowRoot
)

// position tells how dir lies to the roots. A root is never a lab's directory, even where it is below another root.
func position(roots []string, dir string) rootPosition {
	at := outsideRoots
	for _, root := range roots {
		rest, ok := cutRoot(dir, path.Clean(root))
		switch {
		case ok && rest == "":
			return atRoot
		case ok:
			at = belowRoot
		}
	}
	return at
}
