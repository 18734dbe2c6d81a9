package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// ShipEvents returns callbacks that count what the shipper reports.
func ShipEvents(reg prometheus.Registerer) ship.ShipperEvents {
	f := promauto.With(reg)
	attempts := f.NewCounter(prometheus.CounterOpts{Name: "cistern_ship_attempts_total", Help: "Tries to ship a segment or to complete a catalog."})
	failures := f.NewCounterVec(prometheus.CounterOpts{Name: "cistern_ship_failures_total", Help: "Tries that failed and are repeated, by kind."}, []string{"kind"})
	segments := f.NewCounter(prometheus.CounterOpts{Name: "cistern_ship_segments_total", Help: "Segments that the archive confirmed and names."})
	bytes := f.NewCounter(prometheus.CounterOpts{Name: "cistern_ship_bytes_total", Help: "Bytes of those segments."})
	seconds := f.NewCounter(prometheus.CounterOpts{Name: "cistern_ship_seconds_total", Help: "Time spent on those segments."})
	return ship.ShipperEvents{
		Attempt: attempts.Inc,
		Failed:  func(kind string) { failures.WithLabelValues(kind).Inc() },
		Shipped: func(e ship.Entry, took time.Duration) {
			segments.Inc()
			bytes.Add(float64(e.Bytes))
			seconds.Add(took.Seconds())
		},
	}
}

// FetchEvents returns callbacks that count what is read from the archive.
func FetchEvents(reg prometheus.Registerer) fetch.Events {
	f := promauto.With(reg)
	bytes := f.NewCounter(prometheus.CounterOpts{Name: "cistern_archive_read_bytes_total", Help: "Bytes read from the bucket."})
	requests := f.NewCounter(prometheus.CounterOpts{Name: "cistern_archive_reads_total", Help: "Requests that they took."})
	seconds := f.NewCounter(prometheus.CounterOpts{Name: "cistern_archive_read_seconds_total", Help: "Time that those requests took."})
	failures := f.NewCounterVec(prometheus.CounterOpts{Name: "cistern_archive_read_failures_total", Help: "Requests that failed, by kind."}, []string{"kind"})
	hits := f.NewCounter(prometheus.CounterOpts{Name: "cistern_archive_cached_bytes_total", Help: "Bytes of the bucket's objects that were read from the local cache."})
	uncached := f.NewCounter(prometheus.CounterOpts{Name: "cistern_archive_uncached_total", Help: "Parts that the local cache could not take."})
	return fetch.Events{
		Fetched: func(n int64, took time.Duration) {
			bytes.Add(float64(n))
			requests.Inc()
			seconds.Add(took.Seconds())
		},
		Hit:      func(n int64) { hits.Add(float64(n)) },
		Failed:   func(_ string, err error) { failures.WithLabelValues(bucket.KindOf(err)).Inc() },
		Uncached: func(int64, error) { uncached.Inc() },
	}
}

// CacheGauge exposes how much of the bucket's objects is on the local disk.
func CacheGauge(reg prometheus.Registerer, bytes func() int64) {
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{Name: "cistern_archive_cache_bytes", Help: "Bytes of the bucket's objects that the local cache holds."},
		func() float64 { return float64(bytes()) })
}

// DiskGauges exposes what of the disk budget is used, and returns callbacks that count
// what the keeper of it does.
func DiskGauges(reg prometheus.Registerer, budget int64, used func() int64) (evicted func(int64), paused func(bool)) {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "cistern_disk_used_bytes", Help: "Disk that the relay's folders take."}, func() float64 { return float64(used()) })
	f.NewGauge(prometheus.GaugeOpts{Name: "cistern_disk_budget_bytes", Help: "Disk that they may take."}).Set(float64(budget))
	segments := f.NewCounter(prometheus.CounterOpts{Name: "cistern_disk_evicted_segments_total", Help: "Local segments removed because the archive has them."})
	bytes := f.NewCounter(prometheus.CounterOpts{Name: "cistern_disk_evicted_bytes_total", Help: "Bytes of those segments."})
	full := f.NewGauge(prometheus.GaugeOpts{Name: "cistern_disk_paused", Help: "1 while the reading of hosts is paused because the disk budget is used up."})
	evicted = func(n int64) {
		segments.Inc()
		bytes.Add(float64(n))
	}
	paused = func(on bool) {
		full.Set(0)
		if on {
			full.Set(1)
		}
	}
	return evicted, paused
}

// ShipGauges exposes how far the archive is behind the log.
func ShipGauges(reg prometheus.Registerer, s *ship.Shipper, now func() time.Time) {
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("cistern_ship_through_seq", "Last sequence number that the archive holds.", func() float64 { return float64(s.Through()) })
	gauge("cistern_ship_lag_bytes", "Bytes of sealed segments that are not shipped.", func() float64 {
		bytes, _ := s.Lag()
		return float64(bytes)
	})
	gauge("cistern_ship_lag_seconds", "Age of the oldest event in a sealed segment that is not shipped, 0 for none.", func() float64 {
		_, since := s.Lag()
		if since == 0 {
			return 0
		}
		return max(0, now().Sub(time.UnixMicro(since)).Seconds())
	})
}
