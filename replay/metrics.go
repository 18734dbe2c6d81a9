package replay

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	consumers prometheus.Gauge
	closed    *prometheus.CounterVec
	events    [2]prometheus.Counter // by Tier
	bytes     [2]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		consumers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cistern_replay_consumers", Help: "Consumers connected now.",
		}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_replay_closed_total", Help: "Consumers' connections that ended, by reason.",
		}, []string{"reason"}),
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cistern_replay_events_total", Help: "Events written to consumers, by the tier they came from.",
	}, []string{"tier"})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cistern_replay_bytes_total", Help: "Bytes written to consumers, by the tier they came from.",
	}, []string{"tier"})
	for t := range m.events {
		m.events[t] = events.WithLabelValues(Tier(t).String())
		m.bytes[t] = bytes.WithLabelValues(Tier(t).String())
	}
	reg.MustRegister(m.consumers, m.closed, events, bytes)
	return m
}

func (m *metrics) sent(t Tier, events, bytes int) {
	m.events[t].Add(float64(events))
	m.bytes[t].Add(float64(bytes))
}
