package worker

import (
	"maps"
	"slices"

	"netlab-runner/internal/logtext"
)

// secrets are the secret variables of a job, by name.
type secrets map[string]string

// list returns the values.
func (s secrets) list() []string { return slices.Sorted(maps.Values(s)) }

// over lays the values over the request's variables, which show them masked.
func (s secrets) over(shown map[string]string) map[string]string {
	all := maps.Clone(shown)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, s)
	return all
}

// mask makes text that Netlab wrote fit to be shown, by the rules of the log.
func (s secrets) mask(text string) string {
	t := logtext.NewText(s.list())
	masked := string(t.Write([]byte(text)))
	return masked + string(t.Close())
}
