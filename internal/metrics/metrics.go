// Package metrics is what an API tells of itself and of its fleet, for Prometheus.
//
// Every name begins with netlab_, those of Go and of the process apart. Labels have few values: actions, states, reasons,
// routes, hosts; never users, paths or ids. Counters begin at 0 with the process: what happened before, and is read from the
// bus again at a start, is not counted again.
package metrics

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/view"
)

const namespace = "netlab"

// other stands for a value that is none of those that are known. A worker of another version, or somebody else on the bus, may
// send any.
const other = "other"

// Config says whose metrics they are.
type Config struct {
	// View and Bus default to none, and then there is nothing of jobs, hosts and the bus.
	View *view.View
	Bus  *bus.Bus
	// Version of the program.
	Version string
}

// Metrics is safe for concurrent use.
type Metrics struct {
	HTTP     *HTTP
	registry *prometheus.Registry
}

// New returns metrics that count from now on.
func New(c Config) *Metrics {
	m := &Metrics{HTTP: newHTTP(), registry: prometheus.NewRegistry()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": c.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	finished := newFinished()
	m.registry.MustRegister(
		build,
		finished,
		m.HTTP,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if c.View != nil {
		m.registry.MustRegister(&fleet{c.View})
		c.View.Observe(finished.observe)
	}
	if c.Bus != nil {
		m.registry.MustRegister(&busState{c.Bus})
	}
	return m
}

// Write writes all metrics in the form that the client prefers by its Accept header. Where some cannot be had, err is set and
// the others are written.
func (m *Metrics) Write(w io.Writer, accept string) (contentType string, err error) {
	families, err := m.registry.Gather()
	format := expfmt.NegotiateAccept(http.Header{"Accept": {accept}}, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	encoder := expfmt.NewEncoder(w, format)
	for _, family := range families {
		err = errors.Join(err, encoder.Encode(family))
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return string(format), err
}

// known returns the value where it is one of the list, which bounds the values of a label.
func known[T ~string](value T, list []T) string {
	if slices.Contains(list, value) {
		return string(value)
	}
	return other
}

// description is of a metric that is made when it is asked for.
func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// gauge writes one of them.
func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}
