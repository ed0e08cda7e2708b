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
	"time"

	"netlab-runner/internal/jobs"
)

const (
	// endedAge and endedMost are how long, and how many of, the last states of jobs are kept.
	endedAge  = 24 * time.Hour
	endedMost = 10_000
	// endedSuffix ends the names of their files.
	endedSuffix = ".json"
)

// endedJobs are the last states of the jobs that have ended here, a file each. A bus that has lost its newest messages gives the
// request of such a job again, as if it had never run.
type endedJobs struct{ dir string }

func openEndedJobs(dir string) (*endedJobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ended jobs: %w", err)
	}
	return &endedJobs{dir: dir}, nil
}

func (e *endedJobs) file(id string) string { return filepath.Join(e.dir, id+endedSuffix) }

// add is not synced: it is for a bus that loses something, and not for a host that does so at the same time.
func (e *endedJobs) add(job *jobs.Job) error {
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	temporary := e.file(job.ID) + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, e.file(job.ID))
}

// get returns nil for a job that is not known to have ended here.
func (e *endedJobs) get(id string) (*jobs.Job, error) {
	data, err := os.ReadFile(e.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as documented
	}
	if err != nil {
		return nil, err
	}
	job := &jobs.Job{}
	if err := json.Unmarshal(data, job); err != nil {
		return nil, fmt.Errorf("%s: %w", e.file(id), err)
	}
	return job, nil
}

// trim removes what is too old or too many, and returns the ids of the others, the first that have ended first.
func (e *endedJobs) trim(now time.Time, log *slog.Logger) []string {
	files, err := os.ReadDir(e.dir)
	if err != nil {
		log.Warn("ended jobs", "error", err)
		return nil
	}
	type ended struct {
		id string
		at time.Time
	}
	var list []ended
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			continue
		}
		id, whole := strings.CutSuffix(f.Name(), endedSuffix)
		switch {
		case now.Sub(info.ModTime()) >= endedAge:
			_ = os.Remove(filepath.Join(e.dir, f.Name())) // else the next time
		case whole:
			list = append(list, ended{id, info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b ended) int { return a.at.Compare(b.at) })
	for _, old := range list[:max(len(list)-endedMost, 0)] {
		_ = os.Remove(e.file(old.id))
	}
	var ids []string
	for _, kept := range list[max(len(list)-endedMost, 0):] {
		ids = append(ids, kept.id)
	}
	return ids
}
