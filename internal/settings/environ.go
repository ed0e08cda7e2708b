package settings

import (
	"maps"
	"slices"
	"strings"
)

// environment reads KEY=value texts. An empty variable counts as unset.
func environment(environ []string) map[string]string {
	out := map[string]string{}
	for _, e := range environ {
		key, value, _ := strings.Cut(e, "=")
		if value == "" {
			delete(out, key)
			continue
		}
		out[key] = value
	}
	return out
}

// unknownVariables finds the variables that look like a setting and are none.
func unknownVariables(environ map[string]string, known []Setting) []Fault {
	var names []string
	for _, s := range known {
		names = append(names, s.Variable)
	}
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		for _, prefix := range []string{"NETLAB_API_", "NETLAB_BUS_", "NETLAB_WORKER_"} {
			if strings.HasPrefix(name, prefix) && !slices.Contains(names, name) {
				faults = append(faults, Fault{Variable: name, Text: "is not a setting" + suggest(name, names, prefix)})
			}
		}
	}
	return faults
}

// suggest ends a sentence about an unknown name with the name that was probably meant.
func suggest(name string, known []string, prefix string) string {
	if near := nearest(name, known, prefix); near != "" {
		return ": did you mean " + near + "?"
	}
	return ": remove it, or see --help for the names there are"
}
