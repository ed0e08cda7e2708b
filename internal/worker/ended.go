package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"netlab-runner/internal/jobs"
)

const (
	// endedAge and endedMost are how long, and how many of, the last states of jobs are kept.
	endedAge  = 24 * time.Hour
	endedMost = 10_000
	// endedTrim is after how many more of them the others are let go.
	endedTrim = 1_000
	// endedSuffix ends the names of their files.
	endedSuffix = ".json"
)

// endedJobs are the last states of the jobs that have ended here, a file each. A bus that has lost its newest messages gives the
// request of such a job again, as if it had never run.
type endedJobs struct {
	dir string
	log *slog.Logger
	// added counts those of this process.
	added atomic.Int64
}

func openEndedJobs(dir string, log *slog.Logger) (*endedJobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ended jobs: %w", err)
	}
	e := &endedJobs{dir: dir, log: log}
	e.trim(time.Now())
	return e, nil
}

func (e *endedJobs) file(id string) string { return filepath.Join(e.dir, id+endedSuffix) }

// add is on the disk when it returns: a power cut may take the end of the job from a bus on the same machine.
func (e *endedJobs) add(job *jobs.Job) error {
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil { // somebody may have removed it
		return err
	}
	if e.added.Add(1)%endedTrim == 0 {
		e.trim(time.Now())
	}
	return writeDurably(e.file(job.ID), data)
}

// get returns nil for a job that is not known to have ended here. A file that says no end is as none, and removed.
func (e *endedJobs) get(id string) (*jobs.Job, error) {
	data, err := os.ReadFile(e.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as documented
	}
	if err != nil {
		return nil, err
	}
	job := &jobs.Job{}
	if err = json.Unmarshal(data, job); err == nil && (job.ID != id || !job.State.Terminal()) {
		err = fmt.Errorf("it is of job %q, %q", job.ID, job.State)
	}
	if err != nil {
		e.log.Error("ended jobs: a file is damaged and is removed", "file", e.file(id), "error", err)
		return nil, os.Remove(e.file(id))
	}
	return job, nil
}

// endedJob is a file of one, and when it was written.
type endedJob struct {
	name string
	at   time.Time
}

// files are those that there are, the oldest first.
func (e *endedJobs) files() []endedJob {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		e.log.Warn("ended jobs", "error", err)
	}
	var list []endedJob
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			list = append(list, endedJob{entry.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b endedJob) int { return a.at.Compare(b.at) })
	return list
}

// trim removes those that are too old or too many.
func (e *endedJobs) trim(now time.Time) {
	files := e.files()
	for i, file := range files {
		if len(files)-i > endedMost || now.Sub(file.at) >= endedAge {
			_ = os.Remove(filepath.Join(e.dir, file.name)) // else the next time
		}
	}
}

// ids are those of the jobs, the oldest first.
func (e *endedJobs) ids() (list []string) {
	for _, file := range e.files() {
		if id, whole := strings.CutSuffix(file.name, endedSuffix); whole {
			list = append(list, id)
		}
	}
	return list
}
