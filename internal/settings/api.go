package settings

import (
	"path/filepath"
	"time"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/hosts"
)

// maxKeep is how many patterns of files to keep there may be: they travel with every job.
const maxKeep = 50

// API is every setting of the program netlab-api.
type API struct {
	// Config is the YAML file that settings are read from. Defaults to none.
	Config string `group:"Program" help:"YAML file with settings." nokey:"" placeholder:"FILE" variable:"NETLAB_API_CONFIG"`

	// DataDir holds the embedded bus's store and the logs of the jobs; an absolute path once parsed.
	// Defaults to /var/lib/skyforge/netlab-api.
	DataDir string `default:"/var/lib/skyforge/netlab-api" group:"Program" help:"Directory for all that the API keeps." important:"" placeholder:"DIR" variable:"NETLAB_API_DATA_DIR"`

	// WithWorker runs a worker in the same process. Defaults to false.
	WithWorker bool `group:"Program" help:"Run a worker in this process too; the settings below Worker are its." important:"" variable:"NETLAB_API_WITH_WORKER"`

	// DefaultHost is the host that /status and /templates answer for where a request names none. Defaults to none, with
	// WithWorker to that worker's host.
	DefaultHost string `defaulttext:"with --with-worker, that worker's host" group:"Program" help:"Host that /status and /templates answer for where the request names none." placeholder:"HOST" variable:"NETLAB_API_DEFAULT_HOST"`

	// StatusOutput is the form of /status where a request asks for none. Defaults to json.
	StatusOutput Format `default:"json" group:"Program" help:"Form of /status where the request asks for none." placeholder:"json|text" variable:"NETLAB_API_STATUS_OUTPUT"`

	// LogDefault is the form of a job's log for a client whose Accept header is a bare */*. Defaults to text.
	LogDefault Format `default:"text" group:"Program" help:"Form of a job's log for a client that accepts anything (*/*)." placeholder:"text|json" variable:"NETLAB_API_LOG_DEFAULT"`

	// Keep are patterns of files below a job's working directory that are copied to the bus at the job's end, see
	// artifact.CheckPattern. Defaults to none.
	Keep []string `group:"Program" help:"Patterns of files, below a job's working directory, that are copied to the bus at the job's end and served from there, host or no host: such as *.yml,config/**." placeholder:"PATTERN,..." variable:"NETLAB_API_KEEP"`

	// RetainAge is how long a job is kept after its end, with its log and all else; 0: for ever. Defaults to 30 days.
	RetainAge time.Duration `default:"720h" group:"Program" help:"How long a job is kept after its end, with its log and its kept files; 0 for ever." placeholder:"DURATION" variable:"NETLAB_API_RETAIN_AGE"`

	// RetainJobs is how many jobs that have ended are kept; 0: all. Defaults to 100,000.
	RetainJobs int `default:"100000" group:"Program" help:"How many jobs that have ended are kept; 0 for all." placeholder:"NUMBER" variable:"NETLAB_API_RETAIN_JOBS"`

	HTTP   `embed:"" group:"HTTP"`
	Bus    Bus    `embed:"" group:"Bus"`
	Store  Store  `embed:"" group:"Bus, what the API keeps there"`
	Worker Worker `embed:"" group:"Worker"`

	taken []Value
}

// Summary lists what was taken, for the start-up line: the important settings, and those that differ from their default.
func (a *API) Summary() []Value {
	return a.taken
}

// MakeDirs makes the data directories where they are missing, for this user alone; through those of a worker, and what
// they lie in, others can pass. Its error names the setting of one that cannot be written, and the remedy.
func (a *API) MakeDirs() error {
	mode := closed
	if a.WithWorker {
		mode = passage
	}
	if err := makeDir("--data-dir, NETLAB_API_DATA_DIR", a.DataDir, mode); err != nil {
		return err
	}
	if !a.WithWorker {
		return nil
	}
	return a.Worker.makeDir()
}

func (a *API) complete(t *taking) {
	a.HTTP.complete()
	a.Bus.complete()
	if a.WithWorker && t.source("NETLAB_WORKER_DATA_DIR") == Default {
		a.Worker.DataDir = filepath.Join(a.DataDir, "worker")
	}
	a.DataDir = absolute(a.DataDir)
	a.Keep = trimmed(a.Keep)
	a.Worker.complete(t.machine)
	if a.WithWorker && a.DefaultHost == "" {
		a.DefaultHost = a.Worker.Host
	}
}

func (a *API) validate() []Fault {
	var faults []Fault
	if a.DataDir == "" {
		faults = append(faults, faultf("NETLAB_API_DATA_DIR", "is empty: name a directory"))
	}
	if a.DefaultHost != "" {
		if err := hosts.ValidName(a.DefaultHost); err != nil {
			faults = append(faults, faultf("NETLAB_API_DEFAULT_HOST", "%v", err))
		}
	}
	if !a.StatusOutput.valid() {
		faults = append(faults, faultf("NETLAB_API_STATUS_OUTPUT", "%q is no form: use json or text", a.StatusOutput))
	}
	if !a.LogDefault.valid() {
		faults = append(faults, faultf("NETLAB_API_LOG_DEFAULT", "%q is no form: use text or json", a.LogDefault))
	}
	if len(a.Keep) > maxKeep {
		faults = append(faults, faultf("NETLAB_API_KEEP", "has %d patterns: use at most %d", len(a.Keep), maxKeep))
	}
	for _, pattern := range a.Keep {
		if err := artifact.CheckPattern(pattern); err != nil {
			faults = append(faults, faultf("NETLAB_API_KEEP", "%q %v", pattern, err))
		}
	}
	if a.RetainAge != 0 && a.RetainAge < time.Minute {
		faults = append(faults, faultf("NETLAB_API_RETAIN_AGE", "%s is out of range: use 1m or more, or 0 for ever", duration(a.RetainAge)))
	}
	if a.RetainJobs < 0 {
		faults = append(faults, faultf("NETLAB_API_RETAIN_JOBS", "%d is out of range: use 1 or more, or 0 for all", a.RetainJobs))
	}
	faults = append(faults, a.HTTP.validate()...)
	faults = append(faults, a.Bus.validate()...)
	faults = append(faults, a.Store.validate(len(a.Bus.URLs) > 0)...)
	if a.WithWorker {
		faults = append(faults, a.Worker.validate()...)
	}
	return faults
}

func (a *API) without() string {
	if a.WithWorker {
		return ""
	}
	return "Worker"
}

func (a *API) keep(taken []Value) { a.taken = taken }
