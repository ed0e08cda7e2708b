package inventory

import (
	"slices"
	"time"
)

// Lab is a lab that is there, or of which something is.
type Lab struct {
	Identity
	// Key is the lab's name in this listing: its instance, or instance@user for a further one of that instance.
	Key string
	// User is whose lab it is, empty where that is not known.
	User string
	// Status is Netlab's own word for the lab ("started"), empty where Netlab's status file has none, or does not list the lab.
	Status string
	// Providers are Netlab's providers of the lab.
	Providers []string
	// Ghost says that nothing but an entry in Netlab's status file is left: no lock, no snapshot, no container.
	Ghost bool
	// Made is the time of Netlab's snapshot in the directory, see MadeAt.
	Made time.Time
	// Gone says that the lab's directory is not there.
	Gone bool
	// Total is the number of the lab's containers in any state, Running of those that run.
	Total, Running int
	// Entry is the lab's entry in Netlab's status file, nil where no status file lists the lab.
	Entry map[string]any

	// uid is whose lab it is, -1 where that is not known.
	uid int
	// changed is when Netlab last wrote the entry's status.
	changed time.Time
	// snapshot says that Netlab's snapshot is in the directory, locked that its lock is. Both are true of a directory that cannot
	// be looked into.
	snapshot, locked bool
	// label is containerlab's name of the lab, from the directory's clab.yml or the containers.
	label string
}

// onlyContainers says that the lab cannot have anything that Docker does not know of.
func (l *Lab) onlyContainers() bool {
	return !slices.ContainsFunc(l.Providers, func(p string) bool { return p != providerClab && p != providerExternal })
}

const (
	providerClab     = "clab"
	providerExternal = "external"
	statusStarted    = "started"
)

// starting is how long a lab without containers is taken for one that is about to have them.
const starting = time.Hour

// beginning says whether somebody may be about to start the lab, or to take it down.
func (l *Lab) beginning() bool {
	return l.Status != "" && l.Status != statusStarted && time.Since(l.changed).Abs() < starting
}

// takes says whether the lab has, or is about to have, what its identity names.
func (l *Lab) takes(dockerKnown bool) bool {
	switch {
	case l.Ghost:
		return false
	case l.Total > 0, !dockerKnown:
		return true
	default:
		return l.beginning()
	}
}
