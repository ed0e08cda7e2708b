package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/durable"
	"netlab-runner/internal/jobs"
)

const (
	// endedAge and endedMost are how long, and how many of, the last states of jobs are kept: as long as an API keeps jobs, where
	// its settings say nothing else.
	endedAge  = 30 * 24 * time.Hour
	endedMost = 10_000
	// endedLeast are kept whatever their age: a clock that was set, to another year even, says nothing of them.
	endedLeast = 1_000
	// endedTrim is after how many more of them the others are let go.
	endedTrim = 1_000
	// endedSuffix ends the names of their files.
	endedSuffix = ".json"
)

// endedJob is the last state of a job.
type endedJob struct {
	jobs.Job
	// Stored is when the bus stored it, by its clock; the zero time where that is not known.
	Stored time.Time `json:"stored,omitzero"`
}

// since is a time by which a horizon says whether the job was let go: where the bus has not said it, by the clock of this host.
func (e *endedJob) since() time.Time {
	switch {
	case !e.Stored.IsZero():
		return e.Stored
	case e.FinishedAt != nil:
		return *e.FinishedAt
	default:
		return e.CreatedAt
	}
}

// endedJobs are the last states of the jobs that have ended here, a file each. A bus that has lost its newest messages gives the
// request of such a job again, as if it had never run.
type endedJobs struct {
	dir string
	log *slog.Logger
	// most and least are the constants, less in tests.
	most, least int

	// changing is held by who reads a file to write it anew. Of those that only write, many at once cost the disk hardly more than one.
	changing sync.RWMutex

	mu sync.Mutex
	// added counts those of this process, and newest is the time of the newest file.
	added  int
	newest time.Time
	// pending are those that the disk has not taken, and why.
	pending map[string]pendingEnd
}

type pendingEnd struct {
	job endedJob
	err error
}

func openEndedJobs(dir string, log *slog.Logger) (*endedJobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ended jobs: %w", err)
	}
	e := &endedJobs{dir: dir, log: log, most: endedMost, least: endedLeast, pending: map[string]pendingEnd{}}
	files, others := e.files()
	for _, name := range others { // that a crash has left in the midst of being written
		_ = os.Remove(filepath.Join(dir, name)) // else the next time
	}
	if len(files) > 0 {
		e.newest = files[len(files)-1].at
	}
	e.trim(time.Now())
	return e, nil
}

func (e *endedJobs) file(id string) string { return filepath.Join(e.dir, id+endedSuffix) }

// add is on the disk when it returns: a power cut may take the end of the job from a bus on the same machine. Where it fails, the end is
// known all the same, for addUnwritten, until this process ends.
func (e *endedJobs) add(job *endedJob) error {
	e.changing.RLock()
	defer e.changing.RUnlock()
	err := e.write(job, e.next())
	if err != nil {
		e.keep(job, err)
	}
	return err
}

func (e *endedJobs) keep(job *endedJob, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending[job.ID] = pendingEnd{*job, why}
}

// unwritten is a job that add could not write, and why, or nil.
func (e *endedJobs) unwritten(id string) (*endedJob, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	end, ok := e.pending[id]
	if !ok {
		return nil, nil //nolint:nilnil // as documented
	}
	return &end.job, end.err
}

// addUnwritten tries again what add could not write, and is still unwritten until it is settled.
func (e *endedJobs) addUnwritten(id string) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	job, _ := e.unwritten(id)
	if job == nil {
		return nil
	}
	return e.write(job, e.next())
}

// settle is for a job that addUnwritten has written.
func (e *endedJobs) settle(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, id)
}

// next is the time of the next file.
func (e *endedJobs) next() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.added++; e.added%endedTrim == 0 {
		e.trim(time.Now())
	}
	// Of a clock that was set back the newest would be the first to be let go.
	if now := time.Now(); now.After(e.newest) {
		e.newest = now
	} else {
		e.newest = e.newest.Add(1)
	}
	return e.newest
}

// setStored notes when the bus has stored the end of a job. It may have lost it before.
func (e *endedJobs) setStored(id string, at time.Time) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	job, err := e.get(id)
	if job == nil || err != nil || job.Stored.Equal(at) {
		return err
	}
	job.Stored = at
	if unwritten, why := e.unwritten(id); unwritten != nil {
		e.keep(job, why)
		return nil
	}
	info, err := os.Stat(e.file(id))
	if err != nil {
		return err
	}
	return e.write(job, info.ModTime())
}

func (e *endedJobs) write(job *endedJob, at time.Time) error {
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil { // somebody may have removed it
		return err
	}
	if err := durable.Write(e.file(job.ID), data); err != nil {
		return err
	}
	return os.Chtimes(e.file(job.ID), at, at)
}

// get returns nil for a job that is not known to have ended here. A file that says no end is as none, and removed.
func (e *endedJobs) get(id string) (*endedJob, error) {
	if job, _ := e.unwritten(id); job != nil {
		return job, nil
	}
	data, err := os.ReadFile(e.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as documented
	}
	if err != nil {
		return nil, err
	}
	job := &endedJob{}
	if err = json.Unmarshal(data, job); err == nil && (job.ID != id || !job.State.Terminal()) {
		err = fmt.Errorf("it is of job %q, %q", job.ID, job.State)
	}
	if err != nil {
		e.log.Error("ended jobs: a file is damaged and is removed", "file", e.file(id), "error", err)
		return nil, os.Remove(e.file(id))
	}
	return job, nil
}

// endedFile is the file of a job, and when it was written.
type endedFile struct {
	id string
	at time.Time
}

// files are those that there are, the oldest first. others are the names of what is no job's.
func (e *endedJobs) files() (list []endedFile, others []string) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		e.log.Warn("ended jobs", "error", err)
	}
	for _, entry := range entries {
		id, whole := strings.CutSuffix(entry.Name(), endedSuffix)
		if !whole || !jobs.ValidID(id) {
			others = append(others, entry.Name())
			continue
		}
		if info, err := entry.Info(); err == nil {
			list = append(list, endedFile{id, info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b endedFile) int { return a.at.Compare(b.at) })
	return list, others
}

// ids are those of the jobs, the oldest first, and those that are not written yet.
func (e *endedJobs) ids() []string {
	files, _ := e.files()
	list := make([]string, len(files))
	for i := range files {
		list[i] = files[i].id
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.AppendSeq(list, maps.Keys(e.pending))
}

// trim removes those that are too old or too many.
func (e *endedJobs) trim(now time.Time) {
	files, _ := e.files()
	for i, file := range files {
		if left := len(files) - i; left > e.most || left > e.least && now.Sub(file.at) >= endedAge {
			_ = os.Remove(e.file(file.id)) // else the next time
		}
	}
}
