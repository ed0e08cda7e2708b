package view

import (
	"time"

	"netlab-runner/internal/jobs"
)

// waiting works out what keeps a queued job from running, from the jobs born before it on its host.
func (v *View) waiting(e *entry) *jobs.Waiting {
	h := v.hosts[e.job.Host]
	if h == nil || !v.online(h, time.Now()) {
		return &jobs.Waiting{For: "host"}
	}
	w := &jobs.Waiting{For: "slot"}
	running := 0
	same := &jobs.Waiting{For: "job"}
	for _, other := range v.active[e.job.Host] {
		if other.birth >= e.birth {
			break
		}
		if !other.job.Action.Changes() || !e.job.Action.Changes() {
			continue
		}
		if other.job.State == jobs.Queued {
			w.Position++
		} else {
			running++
		}
		if other.job.Workdir == e.job.Workdir {
			same.Job = other.job.ID
			same.Position++
		}
	}
	if same.Position > 0 {
		return same
	}
	if w.Position == 0 && running < h.host.Slots {
		return nil // it is about to start
	}
	return w
}
