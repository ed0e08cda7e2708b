package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"netlab-runner/internal/bus"
)

// busTimeout bounds how long the metrics wait for the bus. Prometheus itself waits for 10 s.
const busTimeout = 2 * time.Second

// busState asks the bus how full it is. While it is away only netlab_bus_connected is there.
type busState struct{ bus *bus.Bus }

type busDescriptions struct{ connected, bytes, messages, limit *prometheus.Desc }

func describeBus() busDescriptions {
	return busDescriptions{
		connected: description("bus_connected", "1 while the connection to the bus stands."),
		bytes:     description("bus_stream_bytes", "Bytes that the stream holds.", "stream"),
		messages:  description("bus_stream_messages", "Messages that the stream holds.", "stream"),
		limit:     description("bus_stream_limit_bytes", "Bytes that the stream can hold; it refuses what is more. Not there where it has no limit.", "stream"),
	}
}

// Describe is of prometheus.Collector.
func (b *busState) Describe(to chan<- *prometheus.Desc) {
	d := describeBus()
	for _, one := range []*prometheus.Desc{d.connected, d.bytes, d.messages, d.limit} {
		to <- one
	}
}

// Collect writes the metrics.
func (b *busState) Collect(to chan<- prometheus.Metric) {
	d := describeBus()
	connected := b.bus.Connected()
	gauge(to, d.connected, oneIf(connected))
	if !connected {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	for _, s := range b.bus.StreamSizes(ctx) {
		gauge(to, d.bytes, float64(s.Bytes), s.Name)
		gauge(to, d.messages, float64(s.Messages), s.Name)
		if s.LimitBytes > 0 {
			gauge(to, d.limit, float64(s.LimitBytes), s.Name)
		}
	}
}
