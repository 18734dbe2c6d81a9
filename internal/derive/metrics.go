package derive

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	applied            prometheus.Gauge
	events, unreadable prometheus.Counter
	waits              prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		applied:    f.NewGauge(prometheus.GaugeOpts{Name: "cistern_index_applied_seq", Help: "Last sequence number that the index has applied."}),
		events:     f.NewCounter(prometheus.CounterOpts{Name: "cistern_index_events_total", Help: "Records applied to the index."}),
		unreadable: f.NewCounter(prometheus.CounterOpts{Name: "cistern_index_unreadable_total", Help: "Records whose frame could not be read when they were applied."}),
		waits:      f.NewCounter(prometheus.CounterOpts{Name: "cistern_index_behind_total", Help: "Times that a host's reading waited because the index was too far behind the log."}),
	}
}
