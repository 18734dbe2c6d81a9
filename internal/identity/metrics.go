package identity

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	hits, misses, refreshes prometheus.Counter
	fetches                 *prometheus.CounterVec // method, result
	seconds                 *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, c *cache) *metrics {
	f := promauto.With(reg)
	lookups := f.NewCounterVec(prometheus.CounterOpts{
		Name: "cistern_identity_lookups_total",
		Help: "Lookups of DIDs, by where the answer came from.",
	}, []string{"from"})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cistern_identity_cache_entries",
		Help: "DIDs in the identity cache.",
	}, func() float64 { return float64(c.len()) })
	return &metrics{
		hits:      lookups.WithLabelValues("cache"),
		misses:    lookups.WithLabelValues("resolver"),
		refreshes: lookups.WithLabelValues("forced"),
		fetches: f.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_identity_fetches_total",
			Help: "Requests for DID documents, by DID method and result.",
		}, []string{"method", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "cistern_identity_fetch_seconds",
			Help:    "Time to fetch a DID document, fallbacks and waiting for a slot included.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
		}, []string{"method"}),
	}
}

func (m *metrics) fetched(did string, err error, took time.Duration) {
	method := "plc"
	if strings.HasPrefix(did, "did:web:") {
		method = "web"
	}
	result := "ok"
	switch {
	case errors.Is(err, ErrGone):
		result = "gone"
	case errors.Is(err, ErrUnusable):
		result = "unusable"
	case err != nil:
		result = "unavailable"
	}
	m.fetches.WithLabelValues(method, result).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
