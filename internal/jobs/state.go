package jobs

import (
	"fmt"
	"time"
)

// State is where a job stands.
type State string

// The states. Success, Failed and Canceled are terminal.
const (
	Queued   State = "queued"
	Running  State = "running"
	Success  State = "success"
	Failed   State = "failed"
	Canceled State = "canceled"
)

// States lists every state in the order of a job's life.
var States = []State{Queued, Running, Success, Failed, Canceled} //nolint:gochecknoglobals // a table that is never written

// Event is what moves a job from one state to the next.
type Event string

// The events.
const (
	// Start is the claim: a worker takes the job and begins the run.
	Start Event = "start"
	// Progress is a new phase of a run.
	Progress Event = "progress"
	// Succeed, Fail and Cancel end the job.
	Succeed Event = "succeed"
	Fail    Event = "fail"
	Cancel  Event = "cancel"
)

// Events lists every event.
var Events = []Event{Start, Progress, Succeed, Fail, Cancel} //nolint:gochecknoglobals // a table that is never written

// moves is the whole life of a job. What it does not name is refused.
var moves = map[State]map[Event]State{ //nolint:gochecknoglobals // a table that is never written
	Queued: {
		Start:  Running,
		Fail:   Failed,
		Cancel: Canceled,
	},
	Running: {
		Progress: Running,
		Succeed:  Success,
		Fail:     Failed,
		Cancel:   Canceled,
	},
}

// Terminal says whether no event moves a job out of the state.
func (s State) Terminal() bool { return len(moves[s]) == 0 }

// MoveError is an event that the job's state does not allow.
type MoveError struct {
	State State
	Event Event
}

func (e *MoveError) Error() string {
	return fmt.Sprintf("a job that is %s cannot %s", e.State, e.Event)
}

// Move applies the event to the job and sets the times that go with it. A *MoveError leaves the job as it was.
func (j *Job) Move(e Event, at time.Time) error {
	next, ok := moves[j.State][e]
	if !ok {
		return &MoveError{State: j.State, Event: e}
	}
	j.State = next
	j.Waiting = nil
	at = wholeSecond(at)
	if e == Start {
		j.StartedAt = &at
	}
	if next.Terminal() {
		j.FinishedAt = &at
		j.Phase = ""
	}
	return nil
}
