package exec

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SystemPath is the PATH of a run where the worker names none.
const SystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Surroundings are what the environment of a run is built from. Nothing else gets in: Netlab takes every NETLAB_ variable as
// a topology default, so one of the worker's own would end up in the lab.
type Surroundings struct {
	// User and Home are whom the run belongs to. Netlab refuses to run without a home that it can write to.
	User, Home string
	// Workdir is the run's working directory; Ansible's playbooks read it from PWD.
	Workdir string
	// Path lists the folders that follow Netlab's own on PATH, separated by colons. Defaults to the system's.
	Path string
	// Extra are the request's variables, already checked. They come on top.
	Extra map[string]string
}

// Environment returns the whole environment of a run, as KEY=value in the order of the names.
func (n *Netlab) Environment(s Surroundings) []string {
	env := baseEnvironment(s, filepath.Dir(n.Python), filepath.Dir(n.Script))
	for name, value := range s.Extra {
		env[name] = value
	}
	return list(env)
}

func baseEnvironment(s Surroundings, folders ...string) map[string]string {
	path := s.Path
	if path == "" {
		path = SystemPath
	}
	return map[string]string{
		"PATH":    strings.Join(append(slices.Compact(folders), path), ":"),
		"HOME":    s.Home,
		"USER":    s.User,
		"LOGNAME": s.User,
		"PWD":     s.Workdir,
		"LANG":    "C.UTF-8", // Ansible refuses LC_ALL=C
		// A byte that is not UTF-8 (a file's name, say) passes through as it is instead of ending the command.
		"PYTHONIOENCODING": "utf-8:surrogateescape",
		"PYTHONUNBUFFERED": "1", // else Netlab's lines come after those of what it starts
		// Fixed when Netlab is imported: plain text, and tables that are not cut at 80 columns.
		"COLUMNS":         "200",
		"NO_COLOR":        "1",
		"TERM":            "dumb",
		"ANSIBLE_NOCOLOR": "1",
		// containerlab asks its server for a newer version, which takes 3 s and a network.
		"CLAB_VERSION_CHECK": "disable",
	}
}

// probeEnvironment is for a question about the interpreter itself, asked as whoever the worker runs as.
func probeEnvironment(python string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	return list(baseEnvironment(Surroundings{Home: home, Workdir: "/", Path: os.Getenv("PATH")}, filepath.Dir(python)))
}

func list(env map[string]string) []string {
	variables := make([]string, 0, len(env))
	for name, value := range env {
		variables = append(variables, name+"="+value)
	}
	slices.Sort(variables)
	return variables
}
