package view

import (
	"time"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

// waiting works out what keeps a queued job from running, from the jobs born before it on its host.
func (v *View) waiting(e *entry) *jobs.Waiting {
	h := v.hosts[e.job.Host]
	if h == nil || !v.online(h, time.Now()) {
		return &jobs.Waiting{For: "host"}
	}
	if !e.job.Action.Changes() {
		return v.waitingReader(e)
	}
	same := &jobs.Waiting{For: "job"}
	// ahead are the queued jobs that only want a slot; busy are the directories whose next job runs, or is one of them.
	running, ahead, busy := 0, 0, map[string]bool{}
	for _, other := range v.active[e.job.Host] {
		if other.birth >= e.birth {
			break
		}
		if !other.job.Action.Changes() {
			continue
		}
		if other.job.Workdir == e.job.Workdir {
			same.Job = other.job.ID
			same.Position++
		}
		switch {
		case other.job.State != jobs.Queued:
			running++
		case !busy[other.job.Workdir]:
			ahead++
		}
		busy[other.job.Workdir] = true
	}
	switch {
	case same.Position > 0:
		return same
	case running+ahead < h.host.Slots:
		return nil // it is about to start
	}
	return &jobs.Waiting{For: "slot", Position: ahead}
}

// waitingReader is waiting for a job that changes nothing: it waits for others of its action alone.
func (v *View) waitingReader(e *entry) *jobs.Waiting {
	running, ahead := 0, 0
	for _, other := range v.active[e.job.Host] {
		switch {
		case other.birth >= e.birth || other.job.Action != e.job.Action:
		case other.job.State == jobs.Queued:
			ahead++
		default:
			running++
		}
	}
	if running+ahead < hosts.Readers {
		return nil // it is about to start
	}
	return &jobs.Waiting{For: "slot", Position: ahead}
}
