package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/verify"
)

var kinds = [...]string{
	frame.Unknown: "unknown", frame.Commit: "commit", frame.Sync: "sync", frame.Identity: "identity",
	frame.Account: "account", frame.Info: "info", frame.ErrorFrame: "error",
}

// outcomes are the actions in the ledger's words. A connection that is closed for a
// frame is counted apart.
var outcomes = [...]ledger.Outcome{
	verify.Drop: ledger.Dropped, verify.Ignore: ledger.Ignored, verify.Hold: ledger.Dropped, verify.Close: ledger.Dropped,
}

var actions = [...]string{
	verify.Pass: "pass", verify.Drop: "drop", verify.Ignore: "ignore", verify.Hold: "hold", verify.Close: "close",
}

// metrics are those without a host. What is counted by host is the ledger's.
type metrics struct {
	accepted    [len(kinds)]prometheus.Counter
	local       prometheus.Counter
	throttled   prometheus.Counter
	rejected    *prometheus.CounterVec // reason, action
	bytes       prometheus.Counter
	connections prometheus.Gauge
	dials       *prometheus.CounterVec // result
	closed      *prometheus.CounterVec // reason
	gaps        prometheus.Counter
	epochs      prometheus.Counter
	waiting     prometheus.Gauge
	held        prometheus.Gauge
	blocked     prometheus.Counter
	slowed      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		local:       counter("cistern_ingest_local_events_total", "Events of our own that were appended."),
		throttled:   counter("cistern_ingest_accounts_throttled_total", "Accounts that were throttled because their host has more than it may."),
		rejected:    vec("cistern_ingest_rejected_total", "Events that were not accepted.", "reason", "action"),
		bytes:       counter("cistern_ingest_received_bytes_total", "Bytes of the frames that hosts sent."),
		connections: gauge("cistern_ingest_connections", "Open upstream connections."),
		dials:       vec("cistern_ingest_dials_total", "Attempts to connect to a host.", "result"),
		closed:      vec("cistern_ingest_closed_total", "Connections that we closed for what the host did.", "reason"),
		gaps:        counter("cistern_ingest_upstream_gaps_total", "Hosts that no longer had what came after our cursor (OutdatedCursor)."),
		epochs:      counter("cistern_ingest_host_epochs_total", "Hosts that restarted their numbering (FutureCursor)."),
		waiting:     gauge("cistern_ingest_waiting_events", "Events that wait for an identity or a status."),
		held:        gauge("cistern_ingest_held_events", "Those of them whose resolver or host failed to answer."),
		slowed:      counter("cistern_ingest_slowed_total", "Times that a host's reading waited because it sent more than its rates allow."),
		blocked:     counter("cistern_ingest_window_full_total", "Times that a host's reading stopped because its window was full."),
	}
	events := vec("cistern_ingest_events_total", "Events of hosts that were accepted into the log.", "kind")
	for k := range kinds {
		if k >= int(frame.Commit) && k <= int(frame.Account) {
			m.accepted[k] = events.WithLabelValues(kinds[k])
		}
	}
	return m
}

// watchIntake exposes how much memory the intake has.
func (m *metrics) watchIntake(reg prometheus.Registerer, in *intake) {
	f := promauto.With(reg)
	gauge := func(name, help string, b *budget) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(b.inUse()) })
	}
	gauge("cistern_ingest_waiting_bytes", "Memory of the events that wait for an identity or a status.", &in.waiting)
	gauge("cistern_ingest_held_bytes", "Of it, of those whose resolver or host failed to answer.", &in.held)
	gauge("cistern_ingest_reading_bytes", "Memory of large frames that are being read or decided.", &in.reading)
}
