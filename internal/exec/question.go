package exec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// maxQuestion bounds a question, in bytes of JSON.
const maxQuestion = 256 << 10

// verdictFile has the answer, in the run's directory.
const verdictFile = "verdict.json"

// verdict is what the worker has said to the run's question. The driver reads refused alone. The question is what was
// answered: the job's user can change what it has asked, but not this.
type verdict struct {
	Refused  string          `json:"refused,omitempty"`
	Question json.RawMessage `json:"question,omitempty"`
}

// Asks returns the run's question: which lab it is about to start, as JSON (an object of 256 KiB at most, of which nothing else
// was checked: it is the job's user who asks). The driver waits for Answer before it touches anything, for as long as the run
// lasts. A run has one question; it comes once from a Process, also where it was asked before Attach, and not where it was
// answered already. The channel is closed as that of Phases is.
func (p *Process) Asks() <-chan json.RawMessage {
	p.Phases()
	return p.asks
}

// ask hands on the run's question; nobody has to be there to take it.
func (p *Process) ask(question json.RawMessage) {
	p.asking.Lock()
	defer p.asking.Unlock()
	select {
	case <-p.done:
		return // nobody waits for an answer
	default:
	}
	if p.question != nil {
		return
	}
	if _, err := os.Lstat(filepath.Join(p.dir, verdictFile)); err == nil {
		return
	}
	p.question = question
	p.asks <- question // has room for one
}

// Answer lets the run start its lab, or with a text refuses it: the run then ends with that text, and with Invalid. It returns
// when the answer is on the disk. The first answer stands, whoever gave it; another one changes nothing.
func (p *Process) Answer(refused string) error {
	p.asking.Lock()
	question := p.question
	p.asking.Unlock()
	if question == nil {
		question = readQuestion(filepath.Join(p.dir, "progress"))
	}
	content, err := json.Marshal(verdict{Refused: refused, Question: question})
	if err != nil {
		return fmt.Errorf("answering %s: %w", p.dir, err)
	}
	if err := linkSynced(p.dir, verdictFile, content); err != nil {
		return fmt.Errorf("answering %s: %w", p.dir, err)
	}
	return nil
}

// Claimed returns the question of the run in dir where the answer to it was yes: the lab that the run may have started.
func Claimed(dir string) (json.RawMessage, bool) {
	content, err := readRegular(filepath.Join(dir, verdictFile))
	if err != nil {
		return nil, false
	}
	var v verdict
	if json.Unmarshal(content, &v) != nil || v.Refused != "" || v.Question == nil {
		return nil, false
	}
	return v.Question, true
}
