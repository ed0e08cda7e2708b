package clients

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Script is a client like a simple runner script: it raises on the first answer that is an error, whenever that comes.
type Script struct {
	Server
	// Every is the time between two looks at a job. Defaults to 50 ms, as tests are in a hurry.
	Every time.Duration
	// Print gets what is new in the log, as the script prints it. Defaults to nothing.
	Print func(added string)
}

// Run posts a job, sees it through to its terminal state and returns that, the job's error and its log.
func (s *Script) Run(ctx context.Context, payload map[string]any) (*Outcome, error) {
	const limit = 30 * time.Second
	o := &Outcome{}
	var job state
	if err := s.call(ctx, limit, http.MethodPost, "/jobs", payload, &job); err != nil {
		return o, err
	}
	if job.ID == "" {
		return o, fmt.Errorf("POST /jobs: no id in %+v", job)
	}
	o.ID = job.ID
	every := s.Every
	if every <= 0 {
		every = 50 * time.Millisecond
	}
	var seen tail
	for {
		o.Looks++
		job = state{}
		if err := s.call(ctx, limit, http.MethodGet, "/jobs/"+o.ID, nil, &job); err != nil {
			return o, err
		}
		var now struct{ Log string }
		if err := s.call(ctx, limit, http.MethodGet, "/jobs/"+o.ID+"/log", nil, &now); err != nil {
			return o, err
		}
		added, err := seen.next(now.Log)
		if err != nil {
			return o, err
		}
		if o.Log += added; s.Print != nil && added != "" {
			s.Print(added)
		}
		if o.State, o.Error = job.is(), job.failure(); terminal(o.State) {
			return o, nil
		}
		if err := wait(ctx, every); err != nil {
			return o, fmt.Errorf("job %s was last %q: %w", o.ID, o.State, err)
		}
	}
}
