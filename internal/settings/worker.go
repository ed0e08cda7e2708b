package settings

import (
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"netlab-runner/internal/hosts"
)

var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$`)

// Worker is what the worker of a lab host is and may do.
type Worker struct {
	// Host is the name that the host has on the fleet, one subject token. Defaults to the machine's name up to its first
	// dot, other characters than [A-Za-z0-9_-] as '-', at most 63.
	Host string `default:"${host}" defaulttext:"the machine's name up to its first dot" help:"Name of this host on the fleet." important:"" name:"worker-host" placeholder:"HOST" variable:"NETLAB_WORKER_HOST"`

	// DataDir holds the journal and the runs; an absolute path once parsed. Defaults to /var/lib/netlab-worker, in
	// netlab-api with WithWorker to "worker" in the API's data directory.
	DataDir string `default:"/var/lib/netlab-worker" defaulttext:"with --with-worker, 'worker' in the --data-dir" help:"Directory for all that the worker keeps." important:"" name:"worker-data-dir" placeholder:"DIR" variable:"NETLAB_WORKER_DATA_DIR"`

	// Roots are the directories, absolute and clean, below which working directories may lie. Defaults to /home.
	Roots []string `default:"/home" help:"Directories below which working directories may lie." important:"" name:"worker-roots" placeholder:"DIR,..." variable:"NETLAB_WORKER_ROOTS"`

	// Templates is the directory, absolute and clean, whose topologies GET /templates lists. Defaults to none.
	Templates string `help:"Directory whose topologies GET /templates lists." name:"worker-templates" placeholder:"DIR" variable:"NETLAB_WORKER_TEMPLATES"`

	// Python is the interpreter that has Netlab, a path or a name on PATH. Defaults to the one that 'netlab' on PATH uses.
	Python string `defaulttext:"the one that 'netlab' on PATH uses" help:"Python interpreter that has Netlab." name:"worker-python" placeholder:"FILE" variable:"NETLAB_WORKER_PYTHON"`

	// Path are directories, absolute and clean, that come first on the PATH of a job. Defaults to none.
	Path []string `help:"Directories that come first on the PATH of a job." name:"worker-path" placeholder:"DIR,..." variable:"NETLAB_WORKER_PATH"`

	// RunAs is the user that every job runs as. Defaults to none: where the worker is root each job runs as its own user,
	// else all as the worker's.
	RunAs string `defaulttext:"none, each job runs as its own user where the worker is root" help:"User that every job runs as. Leave it out where a job is to run as its own user, which needs a worker that is root." name:"run-as-user" placeholder:"USER" variable:"NETLAB_RUN_AS_USER"`

	// URLNetworks are the internal networks that a topologyUrl may point into, as prefixes. Defaults to none.
	URLNetworks []string `help:"Internal networks that a topologyUrl may point into, such as 10.1.0.0/16." name:"worker-url-networks" placeholder:"NETWORK,..." variable:"NETLAB_WORKER_URL_NETWORKS"`

	// Homes are directories, absolute and clean: only homes below them are looked into for labs, and the one of the worker's
	// user. Defaults to none: every home of the machine's users.
	Homes []string `defaulttext:"every home of the machine's users" help:"Directories below which the homes are that are looked into for labs of their users, beside the worker's own." name:"worker-homes" placeholder:"DIR,..." variable:"NETLAB_WORKER_HOMES"`

	// Slots is how many jobs run at once, at least 1. Defaults to the number of cores.
	Slots int `default:"${cores}" defaulttext:"the number of cores" help:"How many jobs run at once." important:"" name:"worker-slots" placeholder:"NUMBER" variable:"NETLAB_WORKER_SLOTS"`

	// Timeout is how long a run may take where the request says nothing. Defaults to 4 h.
	Timeout time.Duration `default:"4h" help:"How long a run may take where the request says nothing." name:"worker-timeout" placeholder:"DURATION" variable:"NETLAB_WORKER_TIMEOUT"`

	// LogLimit is the size of the largest log of a job, in bytes. Defaults to 256 MiB.
	LogLimit Size `default:"256MiB" help:"Size at which the log of a job is cut off; 0 lets it grow." name:"worker-log-limit" placeholder:"SIZE" variable:"NETLAB_WORKER_LOG_LIMIT"`

	// LogPatience is how long a job that has ended waits for room for its log on the bus, before the log is cut off. Defaults to
	// 10 min.
	LogPatience time.Duration `default:"10m" help:"How long a job that has ended waits for room for its log on a bus that is full, before the log is cut off." name:"worker-log-patience" placeholder:"DURATION" variable:"NETLAB_WORKER_LOG_PATIENCE"`

	// Warm is how long Netlab is kept ready for the next run after the last one has begun. Defaults to 10 min.
	Warm time.Duration `default:"10m" help:"How long Netlab is kept in memory, about 60 MiB of it, for the next run to begin at once; 0: never." name:"worker-warm" placeholder:"DURATION" variable:"NETLAB_WORKER_WARM"`

	// Labels are what jobs may ask of a host. Defaults to none.
	Labels map[string]string `help:"Labels of this host, which jobs may ask for." mapsep:"," name:"worker-labels" placeholder:"KEY=VALUE,..." variable:"NETLAB_WORKER_LABELS"`
}

func (w *Worker) makeDir() error {
	return makeDir("--worker-data-dir, NETLAB_WORKER_DATA_DIR", w.DataDir, passage)
}

func (w *Worker) complete(m machine) {
	if w.Host == "" {
		w.Host = m.host
	}
	w.DataDir = absolute(w.DataDir)
	if strings.Contains(w.Python, "/") {
		w.Python = absolute(w.Python)
	}
	w.Roots = cleaned(trimmed(w.Roots))
	w.Path = cleaned(trimmed(w.Path))
	w.Homes = cleaned(trimmed(w.Homes))
	w.URLNetworks = trimmed(w.URLNetworks)
	if w.Templates != "" {
		w.Templates = filepath.Clean(w.Templates)
	}
}

func (w *Worker) validate() []Fault {
	var faults []Fault
	if err := hosts.ValidName(w.Host); err != nil {
		faults = append(faults, faultf("NETLAB_WORKER_HOST", "%v", err))
	}
	if w.DataDir == "" {
		faults = append(faults, faultf("NETLAB_WORKER_DATA_DIR", "is empty: name a directory"))
	}
	faults = append(faults, w.validateDirs()...)
	for _, network := range w.URLNetworks {
		if p, err := netip.ParsePrefix(network); err != nil || p.Addr().Is4In6() {
			faults = append(faults, faultf("NETLAB_WORKER_URL_NETWORKS", "%q is no network: write it like 10.1.0.0/16 or fd00:1::/32", network))
		}
	}
	if w.Slots < 1 || w.Slots > 1000 {
		faults = append(faults, faultf("NETLAB_WORKER_SLOTS", "%d is out of range: use 1 to 1000", w.Slots))
	}
	if w.Timeout < time.Second {
		faults = append(faults, faultf("NETLAB_WORKER_TIMEOUT", "%s is too short: use 1s or more, such as 4h", duration(w.Timeout)))
	}
	if w.LogLimit != 0 && w.LogLimit < 64<<10 {
		faults = append(faults, faultf("NETLAB_WORKER_LOG_LIMIT", "%v is too small: use 64KiB or more, such as 256MiB, or 0 for none", w.LogLimit))
	}
	if w.LogPatience < 0 {
		faults = append(faults, faultf("NETLAB_WORKER_LOG_PATIENCE", "%s is negative: use a duration such as 10m", duration(w.LogPatience)))
	}
	if w.Warm < 0 {
		faults = append(faults, faultf("NETLAB_WORKER_WARM", "%s is negative: use a duration such as 10m, or 0 for never", duration(w.Warm)))
	}
	return append(faults, w.validateLabels()...)
}

func (w *Worker) validateDirs() []Fault {
	var faults []Fault
	if len(w.Roots) == 0 {
		faults = append(faults, faultf("NETLAB_WORKER_ROOTS", "is empty, so that no job could run: name at least one directory"))
	}
	for _, dir := range w.Roots {
		if !filepath.IsAbs(dir) {
			faults = append(faults, faultf("NETLAB_WORKER_ROOTS", "%q is not absolute: begin it with '/'", dir))
		}
	}
	for _, dir := range w.Homes {
		if !filepath.IsAbs(dir) {
			faults = append(faults, faultf("NETLAB_WORKER_HOMES", "%q is not absolute: begin it with '/'", dir))
		}
	}
	if w.Templates != "" && !filepath.IsAbs(w.Templates) {
		faults = append(faults, faultf("NETLAB_WORKER_TEMPLATES", "%q is not absolute: begin it with '/'", w.Templates))
	}
	for _, dir := range w.Path {
		switch {
		case strings.Contains(dir, ":"):
			faults = append(faults, faultf("NETLAB_WORKER_PATH", "%q holds a ':', which no directory on a PATH can: put ',' between directories", dir))
		case !filepath.IsAbs(dir):
			faults = append(faults, faultf("NETLAB_WORKER_PATH", "%q is not absolute: begin it with '/'", dir))
		}
	}
	return faults
}

// URLPrefixes are the URLNetworks, parsed.
func (w *Worker) URLPrefixes() []netip.Prefix {
	var list []netip.Prefix
	for _, network := range w.URLNetworks {
		if p, err := netip.ParsePrefix(network); err == nil {
			list = append(list, p.Masked())
		}
	}
	return list
}

func (w *Worker) validateLabels() []Fault {
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(w.Labels)) {
		if !labelKey.MatchString(key) {
			faults = append(faults, faultf("NETLAB_WORKER_LABELS", "%q is no name of a label: use 1 to 63 letters, digits, '_', '.', '/' and '-', a letter or digit first and last", key))
		}
		if len(w.Labels[key]) > 63 {
			faults = append(faults, faultf("NETLAB_WORKER_LABELS", "the value of %q is %d bytes long: use at most 63", key, len(w.Labels[key])))
		}
	}
	return faults
}
