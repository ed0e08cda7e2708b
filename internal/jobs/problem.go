package jobs

import "strings"

// Problem is one thing that Netlab finds wrong with a topology.
type Problem struct {
	// File is where it is, relative to the working directory where it lies below it; empty where Netlab does not say.
	File string `json:"file"`
	// Text is Netlab's own.
	Text string `json:"text"`
}

// Limits of what one job says of its problems: it travels in one message.
const (
	maxProblems     = 100
	maxProblemBytes = 2000
)

// Bounded is the problems cut to what a job may say of them.
func Bounded(problems []Problem) []Problem {
	bounded := make([]Problem, 0, min(len(problems), maxProblems))
	for _, p := range problems[:min(len(problems), maxProblems)] {
		if len(p.Text) > maxProblemBytes {
			p.Text = strings.ToValidUTF8(p.Text[:maxProblemBytes], "") + "…"
		}
		if len(p.File) > maxPath {
			p.File = ""
		}
		bounded = append(bounded, p)
	}
	return bounded
}
