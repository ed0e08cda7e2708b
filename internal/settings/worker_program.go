package settings

// WorkerProgram is every setting of the program netlab-worker.
type WorkerProgram struct {
	// Config is the YAML file that settings are read from; netlab-api's may be used, its section "api" is passed over.
	// Defaults to none.
	Config string `group:"Program" help:"YAML file with settings; the one of netlab-api may serve both." nokey:"" placeholder:"FILE" variable:"NETLAB_WORKER_CONFIG"`

	Bus    Bus    `embed:"" group:"Bus"`
	Worker Worker `embed:"" group:"Worker"`

	taken []Value
}

// Summary lists what was taken, for the start-up line: the important settings, and those that differ from their default.
func (p *WorkerProgram) Summary() []Value {
	return p.taken
}

// MakeDirs makes the data directory where it is missing, for this user alone but for passing through. Its error names the
// setting of one that cannot be written, and the remedy.
func (p *WorkerProgram) MakeDirs() error {
	return p.Worker.makeDir()
}

func (p *WorkerProgram) complete(t *taking) {
	p.Bus.complete()
	p.Worker.complete(t.machine)
}

func (p *WorkerProgram) validate() []Fault {
	var faults []Fault
	if len(p.Bus.URLs) == 0 {
		faults = append(faults, faultf("NETLAB_BUS_URL", "is not set: name the bus that this worker takes its jobs from, such as nats://127.0.0.1:4222"))
	}
	faults = append(faults, p.Bus.validate()...)
	return append(faults, p.Worker.validate()...)
}

func (p *WorkerProgram) without() string    { return "" }
func (p *WorkerProgram) keep(taken []Value) { p.taken = taken }
