// Package jobs holds the job: its fields, its states and their moves, and the payload that asks for one.
package jobs

import "time"

// Action is what a job does with a lab.
type Action string

// The actions.
const (
	Up      Action = "up"
	Create  Action = "create"
	Down    Action = "down"
	Restart Action = "restart"
	Destroy Action = "destroy"
	Collect Action = "collect"
	Status  Action = "status"
	// Validate says what Netlab finds wrong with a topology. The lab is not touched.
	Validate Action = "validate"
)

// Actions lists every action in the order in which help and errors name them.
var Actions = []Action{Up, Create, Down, Restart, Destroy, Collect, Status, Validate} //nolint:gochecknoglobals // a table that is never written

// Changes says whether the action changes the lab. Two jobs that do never run at once in one working directory.
func (a Action) Changes() bool { return a != Status && a != Validate }

// Reason says, in one word of a fixed set, why a job did not succeed.
type Reason string

// The reasons.
const (
	// ReasonNetlabFailed is a Netlab command that ended with an exit code other than 0.
	ReasonNetlabFailed Reason = "netlab_failed"
	// ReasonInvalid is a request that the host found impossible before Netlab started.
	ReasonInvalid Reason = "invalid"
	// ReasonTimeout is a run that took longer than its timeout.
	ReasonTimeout Reason = "timeout"
	// ReasonCanceled is a run that was stopped on request.
	ReasonCanceled Reason = "canceled"
	// ReasonInterrupted is a run whose end nobody saw: its process is gone without a result.
	ReasonInterrupted Reason = "interrupted"
	// ReasonHostFailed is a fault of the worker's own surroundings (no Netlab, no disk, a bus that has lost what came with the job),
	// not of the request.
	ReasonHostFailed Reason = "host_failed"
)

// Reasons lists every reason.
var Reasons = []Reason{ //nolint:gochecknoglobals // a table that is never written
	ReasonNetlabFailed, ReasonInvalid, ReasonTimeout, ReasonCanceled, ReasonInterrupted, ReasonHostFailed,
}

// Waiting says what a queued job waits for. The API works it out when asked, so that it is never stale.
type Waiting struct {
	// For is "job" (an earlier job of the same working directory), "slot", or "host" (it is offline, or its Error says why it takes none).
	For string `json:"for"`
	// Job is the id of the job ahead, where For is "job".
	Job string `json:"job,omitempty"`
	// Position counts the jobs ahead of it.
	Position int `json:"position"`
}

// Kept is how much of a job's files is kept.
type Kept struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Job is one run of an action on a lab, as HTTP shows it and as the bus carries it. Its JSON is that of its fields: a method
// of its own would hide the fields of whatever embeds a Job.
type Job struct {
	ID      string   `json:"id"`
	Action  Action   `json:"action"`
	State   State    `json:"state"`
	Phase   string   `json:"phase,omitempty"`
	Waiting *Waiting `json:"waiting,omitempty"`

	User       string `json:"user"`
	Workspace  string `json:"workspace"`
	Deployment string `json:"deployment"`
	Workdir    string `json:"workdir"`
	Host       string `json:"host"`
	Placement  string `json:"placement"`
	Instance   string `json:"instance"`

	// The times are whole seconds of UTC: clients read them as 2026-01-02T03:04:05Z.
	CreatedAt  time.Time  `json:"createdAt"`
	StartedAt  *time.Time `json:"startedAt"`
	FinishedAt *time.Time `json:"finishedAt"`

	Error  *string `json:"error"`
	Reason Reason  `json:"reason,omitempty"`
	// Errors are what Netlab found wrong with the topology, one by one, where it said so.
	Errors   []Problem `json:"errors,omitempty"`
	ExitCode *int      `json:"exitCode"`

	// LogPath is the API's own file of the log; each API fills it in for itself.
	LogPath string `json:"logPath"`
	// LogBytes is the length of the log so far; in a terminal state, of the whole log.
	LogBytes int64 `json:"logBytes"`

	// Kept counts the files of NETLAB_API_KEEP that the job has left in the store of objects; nil: none.
	Kept *Kept `json:"kept,omitempty"`

	CancelRequested bool `json:"cancelRequested"`
	// Warnings is never nil: clients expect a list.
	Warnings []string `json:"warnings"`
	Request  Request  `json:"request"`
}

// wholeSecond returns the time as clients read it: 2026-01-02T03:04:05Z.
func wholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// ValidID says whether s can be the id of a job, one subject token and one file name: 1 to 64 letters, digits, '_' and '-'.
func ValidID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}
