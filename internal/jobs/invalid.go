package jobs

import "strings"

// Fault is one thing wrong with a payload.
type Fault struct {
	// Field is the name in the payload, or "body" for what is wrong with the whole.
	Field string `json:"field"`
	// Text says what is wrong and what to do about it. It never holds a value of the environment.
	Text string `json:"text"`
}

// Invalid is a payload that cannot become a job.
type Invalid struct {
	// Faults are all that was found, at least one, in the order of the fields in Request, the whole body first.
	Faults []Fault
}

// Error names every fault: "field: text; field: text".
func (e *Invalid) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.Field + ": " + f.Text
	}
	return strings.Join(texts, "; ")
}
