package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// fleet is what the view shows of jobs, hosts and logs.
type fleet struct{ view *view.View }

// maxHosts bounds the hosts that have metrics of their own: a fleet whose hosts change their names at every start would fill
// Prometheus. Those that are online come first.
const maxHosts = 1000

type fleetDescriptions struct {
	ready, jobs, hosts, online, slots, working, hostJobs, logBytes, received, letGo *prometheus.Desc
}

func describeFleet() fleetDescriptions {
	return fleetDescriptions{
		ready:    description("ready", "1 where the API serves all it is for, as /readyz says."),
		jobs:     description("jobs", "Jobs that are known, by action and state.", "action", "state"),
		hosts:    description("hosts", "Hosts that are known, by whether they are online or offline.", "state"),
		online:   description("host_online", "1 where the host's worker gives signs of life.", "host"),
		slots:    description("host_slots", "Jobs that the host runs at once.", "host"),
		working:  description("host_netlab_working", "1 where the host has a Netlab that can run jobs.", "host"),
		hostJobs: description("host_jobs", "Jobs of the host that are queued or running.", "host", "state"),
		logBytes: description("job_log_bytes", "Length of the logs of all jobs that are known."),
		received: description("log_received_bytes_total", "Bytes of logs that came from the bus since this API had caught up with it."),
		letGo:    description("jobs_let_go_total", "Jobs of the whole fleet that had ended and were let go since this API started."),
	}
}

// Describe is of prometheus.Collector.
func (f *fleet) Describe(to chan<- *prometheus.Desc) {
	d := describeFleet()
	for _, one := range []*prometheus.Desc{d.ready, d.jobs, d.hosts, d.online, d.slots, d.working, d.hostJobs, d.logBytes, d.received, d.letGo} {
		to <- one
	}
}

// Collect writes the metrics.
func (f *fleet) Collect(to chan<- prometheus.Metric) {
	d := describeFleet()
	gauge(to, d.ready, oneIf(len(f.view.NotReady()) == 0))
	counts := f.view.Counts()
	type kind struct{ action, state string }
	kinds := map[kind]int{}
	for _, a := range jobs.Actions {
		for _, s := range jobs.States {
			kinds[kind{string(a), string(s)}] = 0
		}
	}
	for k, n := range counts.Jobs {
		kinds[kind{known(k.Action, jobs.Actions), known(k.State, jobs.States)}] += n
	}
	for k, n := range kinds {
		gauge(to, d.jobs, float64(n), k.action, k.state)
	}
	gauge(to, d.logBytes, float64(counts.LogBytes))
	to <- prometheus.MustNewConstMetric(d.received, prometheus.CounterValue, float64(counts.ReceivedBytes))
	to <- prometheus.MustNewConstMetric(d.letGo, prometheus.CounterValue, float64(counts.LetGo))
	f.collectHosts(to, &d, counts.Active)
}

func (f *fleet) collectHosts(to chan<- prometheus.Metric, d *fleetDescriptions, active map[string]view.ActiveJobs) {
	list := f.view.Hosts()
	online := 0
	for _, h := range list {
		if h.Online {
			online++
		}
	}
	gauge(to, d.hosts, float64(online), "online")
	gauge(to, d.hosts, float64(len(list)-online), "offline")
	for shown, pass := 0, 0; pass < 2; pass++ {
		for _, h := range list {
			if h.Online != (pass == 0) || shown == maxHosts {
				continue
			}
			shown++
			gauge(to, d.online, oneIf(h.Online), h.Name)
			gauge(to, d.slots, float64(h.Slots), h.Name)
			gauge(to, d.working, oneIf(h.Netlab.Error == ""), h.Name)
			gauge(to, d.hostJobs, float64(active[h.Name].Queued), h.Name, string(jobs.Queued))
			gauge(to, d.hostJobs, float64(active[h.Name].Running), h.Name, string(jobs.Running))
		}
	}
}
