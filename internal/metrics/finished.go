package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"netlab-runner/internal/jobs"
)

// finished counts the jobs of the fleet that end.
type finished struct {
	jobs      *prometheus.CounterVec
	wait, run *prometheus.HistogramVec
}

func newFinished() *finished {
	durations := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, []string{"action"})
	}
	f := &finished{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "jobs_finished_total",
			Help: "Jobs of the whole fleet that ended since this API started, by action, terminal state and reason (none where they succeeded).",
		}, []string{"action", "state", "reason"}),
		wait: durations("job_queue_duration_seconds", "Time from a job's creation to its start, of jobs that ended since this API started, in whole seconds.",
			0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
		run: durations("job_run_duration_seconds", "Time from a job's start to its end, of jobs that ended since this API started, in whole seconds.",
			0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400),
	}
	// From the first moment on, so that the first job of its kind is an increase.
	for _, a := range jobs.Actions {
		f.jobs.WithLabelValues(string(a), string(jobs.Success), "")
		for _, r := range jobs.Reasons {
			state := jobs.Failed
			if r == jobs.ReasonCanceled {
				state = jobs.Canceled
			}
			f.jobs.WithLabelValues(string(a), string(state), string(r))
		}
		f.wait.WithLabelValues(string(a))
		f.run.WithLabelValues(string(a))
	}
	return f
}

// observe takes in the next state of a job.
func (f *finished) observe(j *jobs.Job) {
	if !j.State.Terminal() {
		return
	}
	action := known(j.Action, jobs.Actions)
	reason := ""
	if j.Reason != "" {
		reason = known(j.Reason, jobs.Reasons)
	}
	f.jobs.WithLabelValues(action, string(j.State), reason).Inc()
	if j.StartedAt == nil || j.FinishedAt == nil {
		return // canceled in the queue
	}
	// The clocks of two machines: a host's may be behind.
	seconds := func(from, to time.Time) float64 { return max(to.Sub(from), 0).Seconds() }
	f.wait.WithLabelValues(action).Observe(seconds(j.CreatedAt, *j.StartedAt))
	f.run.WithLabelValues(action).Observe(seconds(*j.StartedAt, *j.FinishedAt))
}

// Describe and Collect are of prometheus.Collector.
func (f *finished) Describe(to chan<- *prometheus.Desc) {
	f.jobs.Describe(to)
	f.wait.Describe(to)
	f.run.Describe(to)
}

// Collect writes the metrics.
func (f *finished) Collect(to chan<- prometheus.Metric) {
	f.jobs.Collect(to)
	f.wait.Collect(to)
	f.run.Collect(to)
}
