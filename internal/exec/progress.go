package exec

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
)

const (
	// maxLine bounds a line of progress; what is longer is left out.
	maxLine = maxQuestion + 1<<10
	// maxProgress bounds what is read of progress in all: it is the job's user who writes it.
	maxProgress = 16 << 20
	// maxPhase bounds a phase, in runes.
	maxPhase = 200
)

// progress reads the lines that the driver's processes append.
type progress struct {
	name   string
	file   *os.File
	offset int64
	total  int64
	part   []byte // of a line whose end was not there yet
	skip   bool   // the line is too long, its rest is left out
}

// step is a line of progress: a phase or a question.
type step struct {
	phase    string
	question json.RawMessage
}

// read returns the steps since the last read.
func (p *progress) read() []step {
	if p.file == nil {
		file, err := openRunFile(p.name)
		if err != nil {
			return nil // not made yet, or nothing that can be read
		}
		p.file = file
	}
	if info, err := p.file.Stat(); err == nil && info.Size() < p.offset {
		p.offset, p.part, p.skip = 0, nil, false // somebody has emptied it
	}
	var steps []step
	block := make([]byte, 32<<10)
	for p.total < maxProgress {
		n, err := p.file.ReadAt(block, p.offset)
		p.offset += int64(n)
		p.total += int64(n)
		steps = p.take(steps, block[:n])
		if err != nil || n == 0 {
			break
		}
	}
	return steps
}

// take appends the steps of the lines that end in the block.
func (p *progress) take(steps []step, block []byte) []step {
	for {
		line, rest, ended := bytes.Cut(block, []byte("\n"))
		if !p.skip && len(p.part)+len(line) <= maxLine {
			p.part = append(p.part, line...)
		} else {
			p.skip, p.part = true, nil
		}
		if !ended {
			return steps
		}
		if s, ok := parseStep(p.part); ok {
			steps = append(steps, s)
		}
		block, p.part, p.skip = rest, p.part[:0], false
	}
}

func parseStep(line []byte) (step, bool) {
	var entry struct {
		Phase, Command string
		Question       map[string]json.RawMessage
	}
	if json.Unmarshal(line, &entry) != nil {
		return step{}, false
	}
	if entry.Question != nil {
		question, err := json.Marshal(entry.Question)
		return step{question: question}, err == nil && len(question) <= maxQuestion
	}
	if entry.Command != "" {
		entry.Phase = "netlab " + entry.Command
	}
	phase := strings.Join(strings.Fields(entry.Phase), " ")
	if runes := []rune(phase); len(runes) > maxPhase {
		phase = string(runes[:maxPhase])
	}
	return step{phase: phase}, phase != ""
}

func (p *progress) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}

// readQuestion returns the run's question, nil where it has asked none.
func readQuestion(name string) json.RawMessage {
	p := &progress{name: name}
	defer p.close()
	for _, s := range p.read() {
		if s.question != nil {
			return s.question
		}
	}
	return nil
}
