package view

import "netlab-runner/internal/jobs"

// Kind is what jobs are counted by.
type Kind struct {
	Action jobs.Action
	State  jobs.State
}

// ActiveJobs counts the jobs of a host that have not ended.
type ActiveJobs struct{ Queued, Running int }

// Counts are of all that the view knows.
type Counts struct {
	Jobs map[Kind]int
	// Active is by host.
	Active map[string]ActiveJobs
	// LogBytes is the length of all logs; ReceivedBytes is how much of logs came since the view had caught up.
	LogBytes, ReceivedBytes int64
	// LetGo counts the jobs that were let go.
	LetGo int64
}

// Counts goes over every job.
func (v *View) Counts() Counts {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c := Counts{Jobs: map[Kind]int{}, Active: v.activeByHost(), ReceivedBytes: v.received, LetGo: v.forgotten}
	for _, e := range v.order {
		has := e.traits.Value()
		c.Jobs[Kind{has.Action, has.State}]++
		c.LogBytes += e.logBytes
	}
	for _, list := range v.active {
		for _, e := range list {
			if e.open.job.State != jobs.Queued {
				c.LogBytes += v.logs.Get(e.id).Size()
			}
		}
	}
	return c
}

// ActiveByHost goes over every job that has not ended.
func (v *View) ActiveByHost() map[string]ActiveJobs {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.activeByHost()
}

func (v *View) activeByHost() map[string]ActiveJobs {
	byHost := make(map[string]ActiveJobs, len(v.active))
	for host, list := range v.active {
		var active ActiveJobs
		for _, e := range list {
			if e.open.job.State == jobs.Queued {
				active.Queued++
			} else {
				active.Running++
			}
		}
		byHost[host] = active
	}
	return byHost
}

// count takes in how long the log of a job has become. What was there before the view had caught up is not counted.
func (v *View) count(e *entry, size int64) {
	if v.counting() && size > e.counted {
		v.received += size - e.counted
	}
	e.counted = max(e.counted, size)
}

// counting says whether the jobs and logs that were there at the start are known.
func (v *View) counting() bool {
	_, jobsBehind := v.behind[partJobs]
	_, logsBehind := v.behind[partLogs]
	return !jobsBehind && !logsBehind
}

// countFromNow passes over what the logs that still grow have already.
func (v *View) countFromNow() {
	for _, list := range v.active {
		for _, e := range list {
			if e.open.job.State != jobs.Queued {
				e.counted = v.logs.Get(e.id).Size()
			}
		}
	}
}
