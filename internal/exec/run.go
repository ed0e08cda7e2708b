package exec

import (
	"os"
	"syscall"
)

// Command is the one command of a run: one of Netlab's, or one of the driver's own ("status" prints the table of the lab's
// nodes, "validate" generates in a scratch directory).
type Command struct {
	// Name is create, up, restart, down, destroy, collect, status or validate.
	Name string `json:"name"`
	// Args are Netlab's options, and for status the instance or none. A restart keeps those of the lab that it does not name.
	Args []string `json:"args"`
	// Topology is the topology file of a create, an up, a restart or a validate, relative to the working directory. Empty, a
	// restart starts again what the snapshot has.
	Topology string `json:"topology,omitempty"`
	// FreeID is the multilab id that the lab of a create, an up or a restart gets if it has the plugin multilab and no id.
	FreeID string `json:"freeId,omitempty"`
	// Instance is the id that the request says of the lab of a down, a destroy or a collect. One that is not the lab's is a warning.
	Instance string `json:"instance,omitempty"`
}

// Run is what to run.
type Run struct {
	// Dir is the run's own directory, absolute. It is made where it does not exist, and used for no other run. Where User is
	// set, that user has to be able to come to it: the directories above need the execute permission for others.
	Dir string
	// Output is the file that all output is appended to. It is made with mode 0600 where it does not exist, and given to User:
	// what opens /dev/stderr by that name opens this file.
	Output string
	// Workdir is the working directory, absolute. It has to exist.
	Workdir string
	// WorkdirFile is the opened working directory. The driver goes there, and runs nothing unless it is still Workdir. nil:
	// Workdir is opened by its path. The caller closes it.
	WorkdirFile *os.File
	// StatusFile is Netlab's status file, for every command alike. Empty: Netlab's own, in the home directory.
	StatusFile string
	// Commands is the run's command. Several run one after the other until one fails.
	Commands []Command
	// Env is the whole environment of the commands, KEY=value: see Environment. It is nowhere on disk, on no command line and
	// not in the environment of the driver.
	Env []string
	// SnapshotYAML leaves netlab.snapshot.yml in the working directory after a create or an up.
	SnapshotYAML bool
	// Job is the job's id. Every process of the run has it in its environment, as RUNNER_JOB, and Stop finds them by it.
	Job string
	// User is whom the commands run as, with umask 022; only root can do that. nil: as this process.
	User *syscall.Credential
	// Ask makes the driver ask, before it starts a lab, whether it may: see Asks. Otherwise it just starts it.
	Ask bool
}

// jobVariable marks the processes of a job's run.
const jobVariable = "RUNNER_JOB"

// plan is plan.json, what the driver is told.
type plan struct {
	Oldest       string    `json:"oldest"`
	Workdir      string    `json:"workdir"`
	StatusFile   string    `json:"statusFile"`
	Commands     []Command `json:"commands"`
	SnapshotYAML bool      `json:"snapshotYAML"`
	Job          string    `json:"job,omitempty"`
	User         *user     `json:"user,omitempty"`
	Ask          bool      `json:"ask,omitempty"`
}

// user is whom the driver's commands become.
type user struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"`
}

func (r *Run) plan() plan {
	p := plan{
		Oldest: MinVersion, Workdir: r.Workdir, StatusFile: r.StatusFile, Commands: r.Commands, SnapshotYAML: r.SnapshotYAML,
		Job: r.Job, Ask: r.Ask,
	}
	if r.User != nil {
		p.User = &user{UID: r.User.Uid, GID: r.User.Gid, Groups: append([]uint32{}, r.User.Groups...)}
	}
	return p
}
