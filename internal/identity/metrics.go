package identity

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	hits, stored, misses, refreshes, again prometheus.Counter
	fetches                                *prometheus.CounterVec // method, result
	seconds                                *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, r *Resolver) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	lookups := f.NewCounterVec(prometheus.CounterOpts{
		Name: "cistern_identity_lookups_total",
		Help: "Lookups of DIDs, by where the answer came from.",
	}, []string{"from"})
	gauge("cistern_identity_cache_entries", "DIDs in the identity cache in memory.", func() float64 {
		n, _ := r.cache.size()
		return float64(n)
	})
	gauge("cistern_identity_cache_bytes", "Memory of the identity cache, as it is counted.", func() float64 {
		_, n := r.cache.size()
		return float64(n)
	})
	gauge("cistern_identity_rechecks_pending", "DIDs to be asked for again after an #identity that changed nothing.", func() float64 {
		n, _ := r.again.pending()
		return float64(n)
	})
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "cistern_identity_rechecks_dropped_total",
		Help: "DIDs that should have been asked for again, for which there was no room.",
	}, func() float64 {
		_, n := r.again.pending()
		return float64(n)
	})
	for _, p := range r.fetch.plc {
		plcMetrics(f, p)
	}
	return &metrics{
		hits:      lookups.WithLabelValues("cache"),
		stored:    lookups.WithLabelValues("store"),
		misses:    lookups.WithLabelValues("resolver"),
		refreshes: lookups.WithLabelValues("forced"),
		again:     lookups.WithLabelValues("again"),
		fetches: f.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_identity_fetches_total",
			Help: "Requests for DID documents, by DID method and result.",
		}, []string{"method", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "cistern_identity_fetch_seconds",
			Help:    "Time to fetch a DID document, fallbacks and waiting for a turn included.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
		}, []string{"method"}),
	}
}

// plcMetrics shows how a directory fares.
func plcMetrics(f promauto.Factory, p *plcHost) {
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "cistern_identity_plc_resting",
		Help:        "1 while a PLC directory is left alone, because it asked for time or fails.",
		ConstLabels: prometheus.Labels{"plc": p.name},
	}, func() float64 {
		if p.rests() > 0 {
			return 1
		}
		return 0
	})
	for c, name := range [classes]string{"lookup", "refresh", "again"} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "cistern_identity_plc_waiting",
			Help:        "Requests that wait for their turn at a PLC directory, by why they are made.",
			ConstLabels: prometheus.Labels{"plc": p.name, "for": name},
		}, func() float64 { return float64(p.gate.waiting()[c]) })
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
