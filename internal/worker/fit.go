package worker

import (
	"encoding/json"
	"fmt"
	"strings"

	"netlab-runner/internal/jobs"
)

// Bytes of JSON that the end of a job may add to it. The bus has room for 64 KiB beyond the birth; what did not fit could never
// be published.
const (
	errorRoom  = 20 << 10
	errorsRoom = 32 << 10

	mostWarnings = 4
	warningRoom  = 1 << 10
)

// fitting are the problems as the job shows them: masked, and as many as there is room for.
func (r *run) fitting(problems []jobs.Problem) []jobs.Problem {
	var list []jobs.Problem
	room := errorsRoom
	bounded := jobs.Bounded(problems)
	for i, p := range bounded {
		p = jobs.Problem{File: fit(r.secrets.mask(p.File), errorsRoom/8), Text: fit(r.secrets.mask(p.Text), errorsRoom/4)}
		if room -= inJSON(p); room < 0 {
			return append(list, jobs.Problem{Text: fmt.Sprintf("and %d more, which the log has", len(problems)-i)})
		}
		list = append(list, p)
	}
	return list
}

// fit cuts a text to so many bytes of JSON, in which a byte of it is up to six.
func fit(text string, most int) string {
	for size := min(len(text), most); inJSON(text) > most; size -= most / 10 {
		text = strings.ToValidUTF8(text[:size], "") + "…"
	}
	return text
}

func inJSON(value any) int {
	data, err := json.Marshal(value)
	if err != nil {
		return 0
	}
	return len(data)
}
