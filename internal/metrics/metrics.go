package metrics

import (
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cistern-archive/cistern/segmentlog"
)

// NewRegistry returns a registry with the metrics of the process and of Go.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// LogEvents returns callbacks that count what the log reports.
func LogEvents(reg prometheus.Registerer) segmentlog.Events {
	f := promauto.With(reg)
	events := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_events_total", Help: "Events made durable."})
	bytes := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_bytes_total", Help: "Bytes appended to hot files, marks included."})
	commits := f.NewHistogram(prometheus.HistogramOpts{
		Name: "cistern_log_commit_seconds", Help: "Time of a group commit: one write and one fsync.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	})
	full := f.NewGauge(prometheus.GaugeOpts{Name: "cistern_log_paused", Help: "1 while intake is paused because the disk is full."})
	jumped := f.NewGauge(prometheus.GaugeOpts{Name: "cistern_log_clock_jumped", Help: "1 while intake is paused because the wall clock jumped."})
	files := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_rotations_total", Help: "Hot files closed."})
	torn := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_torn_bytes_total", Help: "Bytes of torn writes that the start cut."})
	seals := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_seals_total", Help: "Segments sealed."})
	sealFailures := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_seal_failures_total", Help: "Seals that failed and are tried again."})
	sealRaw := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_sealed_raw_bytes_total", Help: "Bytes of the hot files that were sealed."})
	sealWire := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_sealed_bytes_total", Help: "Bytes of the segments made of them."})
	sealTime := f.NewCounter(prometheus.CounterOpts{Name: "cistern_log_seal_seconds_total", Help: "Time spent sealing."})
	return segmentlog.Events{
		Seal: func(i segmentlog.SealInfo) {
			seals.Inc()
			sealRaw.Add(float64(i.Raw))
			sealWire.Add(float64(i.Size))
			sealTime.Add(i.Duration.Seconds())
		},
		SealFailed: func(string, error) { sealFailures.Inc() },
		Commit: func(i segmentlog.CommitInfo) {
			events.Add(float64(i.Events))
			bytes.Add(float64(i.Bytes))
			commits.Observe(i.Duration.Seconds())
		},
		NoSpace:   func(error) { full.Set(1) },
		SpaceBack: func() { full.Set(0) },
		ClockJump: func(time.Duration) { jumped.Set(1) },
		ClockBack: func() { jumped.Set(0) },
		Rotate:    func(string) { files.Inc() },
		TornTail:  func(i segmentlog.CutInfo) { torn.Add(float64(i.Bytes)) },
	}
}

// LogGauges exposes where the log stands.
func LogGauges(reg prometheus.Registerer, l *segmentlog.Log) {
	gauge := func(name, help string, value func() uint64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("cistern_log_tip_seq", "Last durable sequence number.", l.Tip)
	gauge("cistern_log_oldest_seq", "First sequence number of the log.", l.Oldest)
	gauge("cistern_log_reserved_seq", "Highest reserved sequence number.", l.Reserved)
}

// Handler serves /metrics, of reg and of others, and /debug/pprof.
func Handler(reg *prometheus.Registry, others ...prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	all := append(prometheus.Gatherers{reg}, others...)
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
