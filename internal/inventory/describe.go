package inventory

import (
	"fmt"
	"strings"
)

// Describe says for people, on one line, what is there of the lab in a directory and what to do next. dir is its real path.
func (l *Listing) Describe(dir string) string {
	labs := l.At(dir)
	var parts []string
	for _, lab := range labs {
		parts = append(parts, lab.describe(l.NoDocker == ""))
	}
	if len(labs) == 0 {
		parts = append(parts, fmt.Sprintf("no lab in %s: no status file lists one", shown(dir)))
		if l.NoDocker == "" {
			parts[0] += " and it has no container; `up` starts it"
		}
	}
	if l.NoDocker != "" {
		parts = append(parts, "containers are not known: "+shown(l.NoDocker))
	}
	return strings.Join(parts, "; ")
}

func (l *Lab) describe(dockerKnown bool) string {
	text := fmt.Sprintf("lab %s in %s: ", l.Instance, shown(l.Dir))
	if l.Ghost {
		return text + "an entry in Netlab's status file and nothing else; `destroy` removes it, `up` starts the lab"
	}
	containers := fmt.Sprintf("%d containers (%d running)", l.Total, l.Running)
	switch l.Total {
	case 0:
		containers = "no container"
	case 1:
		containers = fmt.Sprintf("1 container (%d running)", l.Running)
	}
	switch {
	case l.Entry == nil:
		return text + containers + ", which Netlab's status file does not list; `destroy` removes it, `up` starts the lab anew"
	case l.Status == "":
		text += "no status"
	default:
		text += fmt.Sprintf("status '%s'", l.Status)
	}
	if dockerKnown && (l.Total > 0 || l.onlyContainers()) {
		text += ", " + containers
	}
	switch {
	case l.Gone:
		return text + ", its directory is gone; `destroy` removes it"
	case l.Status == statusStarted && (!dockerKnown || l.Running == l.Total):
		return text + "; `down` or `destroy` takes it down"
	default:
		return text + "; `destroy` removes it, `up` goes on"
	}
}
