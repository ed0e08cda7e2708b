package api

import "netlab-runner/internal/jobs"

// The forms that an answer is given in, as settings and parameters name them.
const (
	formJSON = "json"
	formText = "text"
)

// encode makes the JSON of an answer as that of a job is made.
func encode(v any) ([]byte, error) { return jobs.Encode(v) }
