package view

import (
	"bytes"
	"time"
	"unique"

	"netlab-runner/internal/jobs"
)

// entry is a job as the view knows it. Most have ended: of such a one only its JSON is kept, which takes a fourth of the memory of
// the job itself, nearly nothing of the garbage collector's time, and is what clients ask for.
type entry struct {
	id     string
	traits traits
	// created is when the job was made, in nanoseconds since 1970: it tells it from another one of its id.
	created int64
	// birth orders the jobs; seq is the newest message that was taken in; told is that of the newest event.
	birth, seq, told uint64
	// canceled is the sequence of a request for the job's end, 0 for none.
	canceled uint64
	// source is who published the job's state: should the bus lose it.
	source unique.Handle[string]
	// counted is how much of the log was counted as received.
	counted int64

	// open is nil of a job that has ended and has its whole log.
	open *open

	// What follows is of a job that has ended.

	// text is its JSON while open is nil: the answer to who asks for it, or else as the bus has it.
	text   []byte
	answer bool
	// logBytes and kept are the lengths of its log and of the files that it has left on the bus.
	logBytes, kept int64
	// endedAt is when the terminal state came, end when the bus stored it and endSeq its sequence, 0 of one that ended in a stream
	// that was lost.
	endedAt, end time.Time
	endSeq       uint64
}

// open is what is known of a job to which something may still come.
type open struct {
	job jobs.Job
	// ended is a terminal state that is not shown yet, because the log is not whole.
	ended *jobs.Job
	// request is the birth, for as long as the job is queued: should the bus lose it.
	request []byte
	// turn counts the states of job, and answered is the last answer of one that runs: many ask again and again.
	turn     int
	answered answered
}

// answered is what was answered of a job that runs, with what else than its state decides over that.
type answered struct {
	text            []byte
	logBytes        int64
	cancelRequested bool
}

// terminal says whether the job is shown as ended.
func (e *entry) terminal() bool { return e.traits.Value().State.Terminal() }

// ending is a terminal state that is not shown yet, or nil.
func (e *entry) ending() *jobs.Job {
	if e.open == nil {
		return nil
	}
	return e.open.ended
}

// pack keeps nothing but the text of a job that has ended and has its whole log. stored is the message that told of the end; nil:
// the answer is made now, as it will be asked for.
func (v *View) pack(e *entry, ended *jobs.Job, stored []byte) {
	canceled := e.cancelRequested(ended)
	if stored != nil && canceled == ended.CancelRequested {
		e.text, e.answer, e.open = bytes.Clone(stored), false, nil // of a buffer with more in it
		return
	}
	job := *ended
	job.CancelRequested, job.LogPath = canceled, v.logs.Path(e.id)
	text, err := jobs.Encode(&job)
	if err != nil {
		v.log.Error("view: a job that cannot be shown", "job", e.id, "error", err)
		return
	}
	e.text, e.answer, e.open = bytes.Clone(text), true, nil // of a buffer with room
}

// unpack is the job of a text.
func (v *View) unpack(id string, text []byte) (job jobs.Job) {
	if err := jobs.Decode(text, &job); err != nil {
		v.log.Error("view: the text of a job", "job", id, "error", err) // it was read, or made, when it was kept
	}
	job.LogPath = v.logs.Path(id)
	return job
}

// shown is the job with what only the view knows: what it waits for, and how much of its log there is.
func (v *View) shown(e *entry) jobs.Job {
	if e.open == nil {
		return v.unpack(e.id, e.text)
	}
	job := e.open.job
	job.CancelRequested = e.cancelRequested(&job)
	switch {
	case job.State == jobs.Queued && v.jobs[e.id] == e: // who follows may still hold one that was let go
		job.Waiting = v.waiting(e)
	case job.State == jobs.Running:
		job.LogBytes = v.logs.Get(job.ID).Size()
	}
	return job
}

// Shown is a job as it is at one moment.
type Shown struct {
	ID    string
	State jobs.State
	Host  string
	// LogBytes is the length of the log so far.
	LogBytes int64

	view  *View
	entry *entry
	// job is nil where nothing but the text is kept; answer says that this is the whole answer.
	job    *jobs.Job
	turn   int
	text   []byte
	answer bool
}

func (v *View) show(e *entry) Shown {
	has := e.traits.Value()
	s := Shown{ID: e.id, State: has.State, Host: has.Host, LogBytes: e.logBytes, view: v, entry: e, text: e.text, answer: e.answer}
	if e.open != nil {
		job := v.shown(e)
		s.job, s.LogBytes, s.turn = &job, job.LogBytes, e.open.turn
		if last := &e.open.answered; last.text != nil && last.logBytes == job.LogBytes && last.cancelRequested == job.CancelRequested {
			s.text, s.answer = last.text, true
		}
	}
	return s
}

// Job is the job itself.
func (s *Shown) Job() jobs.Job {
	if s.job == nil {
		return s.view.unpack(s.ID, s.text)
	}
	return *s.job
}

// JSON is the job as HTTP shows it, with a line end. It is not to be changed.
func (s *Shown) JSON() ([]byte, error) {
	if s.answer {
		return s.text, nil
	}
	job := s.Job()
	text, err := jobs.Encode(&job)
	if err == nil && job.State != jobs.Queued {
		s.view.keepAnswer(s, text)
	}
	return text, err
}

// keepAnswer keeps the answer of a job that runs, or has ended: who asks once may ask again.
func (v *View) keepAnswer(s *Shown, text []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := s.entry; {
	case e.open == nil && s.job == nil && !e.answer:
		e.text, e.answer = bytes.Clone(text), true
	case e.open != nil && s.job != nil && s.turn == e.open.turn && e.open.job.State == jobs.Running:
		e.open.answered = answered{bytes.Clone(text), s.job.LogBytes, s.job.CancelRequested}
	}
}
