package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts requests and their answers.
type HTTP struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	streams   *prometheus.GaugeVec

	mu sync.RWMutex
	// answers are the metrics of the answers that there have been: to find them by their labels costs as much as to find a job.
	answers map[answer]answered
}

// answer is what the metrics tell of an answer.
type answer struct {
	route, method string
	code          int
}

// answered are the metrics of one kind of answer.
type answered struct {
	requests  prometheus.Counter
	durations prometheus.Observer
}

// none is the route of a request that got to none, and the method of one that could not be read.
const none = "none"

func newHTTP() *HTTP {
	const subsystem = "http"
	return &HTTP{
		answers: map[answer]answered{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_total",
			Help: "Requests that were answered, by route (none where there is no such route, the client may not use it, or the request was refused before one was looked for), method and status.",
		}, []string{"route", "method", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_duration_seconds",
			Help:    "Time from a request's arrival to its answer; of a stream, to its beginning.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "open_streams",
			Help: "Answers that go on for as long as their client stays or the job runs, by route.",
		}, []string{"route"}),
	}
}

// Answered counts a request. route is the pattern of the route, empty where there is none.
func (h *HTTP) Answered(route, method string, code int, after time.Duration) {
	if route == "" {
		route = none
	}
	of := h.of(answer{route, method, code})
	of.requests.Inc()
	of.durations.Observe(after.Seconds())
}

func (h *HTTP) of(a answer) answered {
	h.mu.RLock()
	of, ok := h.answers[a]
	h.mu.RUnlock()
	if ok {
		return of
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	of = answered{h.requests.WithLabelValues(a.route, a.method, strconv.Itoa(a.code)), h.durations.WithLabelValues(a.route, a.method)}
	h.answers[a] = of
	return of
}

// Refused counts what could not be read as a request.
func (h *HTTP) Refused(code int) { h.requests.WithLabelValues(none, none, strconv.Itoa(code)).Inc() }

// Opened counts a stream, until the function that it returns is called.
func (h *HTTP) Opened(route string) (closed func()) {
	g := h.streams.WithLabelValues(route)
	g.Inc()
	return sync.OnceFunc(g.Dec)
}

// Describe is of prometheus.Collector.
func (h *HTTP) Describe(to chan<- *prometheus.Desc) {
	h.requests.Describe(to)
	h.durations.Describe(to)
	h.streams.Describe(to)
}

// Collect writes the metrics.
func (h *HTTP) Collect(to chan<- prometheus.Metric) {
	h.requests.Collect(to)
	h.durations.Collect(to)
	h.streams.Collect(to)
}
