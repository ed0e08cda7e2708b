package settings

import (
	"os"
	"regexp"
	"runtime"
	"strings"
)

var notInHostName = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// machine is what defaults depend on.
type machine struct {
	host  string
	cores int
}

func thisMachine() machine {
	// A machine that cannot say its name leaves it empty, and validate asks for the setting.
	name, _ := os.Hostname()
	return machine{host: hostOf(name), cores: max(runtime.NumCPU(), 1)}
}

// hostOf makes a host's name of a machine's.
func hostOf(machineName string) string {
	name, _, _ := strings.Cut(machineName, ".")
	name = notInHostName.ReplaceAllString(name, "-")
	return name[:min(len(name), 63)]
}
