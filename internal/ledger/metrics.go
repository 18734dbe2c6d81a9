package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// topHosts by rate have series of their own …
	topHosts = 32
	// … and keep them for the life of the process, up to this many; all others share
	// the series Other. A counter that moved between names would jump.
	maxNamed = 64
	// minShare of all that is received is what a host must send to get one of the names
	// that are left when topHosts are given, so that they are not spent on hosts that
	// hardly differ.
	minShare = 0.005
	// rateOver is how long a host's rate looks back, about.
	rateOver = 5 * time.Minute
	// rankEvery is how often rates are compared.
	rankEvery = 10 * time.Second
)

type metrics struct {
	l                           *Ledger
	received, accepted, dropped *prometheus.Desc
	named                       int // hosts with series of their own; used by one goroutine

	stored, failures, lost prometheus.Counter
	waiting                prometheus.Gauge
	kept                   prometheus.Counter
	quarantined            prometheus.Gauge
	quarantinedBytes       prometheus.Gauge
}

func newMetrics(l *Ledger) *metrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" The busiest hosts by name, the rest as other.", []string{"host"}, nil)
	}
	f := promauto.With(l.opts.Registerer)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		l:        l,
		received: desc("cistern_ingest_received_total", "Frames that hosts sent."),
		accepted: desc("cistern_ingest_accepted_total", "Events of hosts that were accepted into the log."),
		dropped:  desc("cistern_ingest_dropped_total", "Frames of hosts that were dropped."),

		stored:           counter("cistern_ledger_rows_stored_total", "Rows of the ledger that were written."),
		failures:         counter("cistern_ledger_store_failures_total", "Times that the ledger could not be written."),
		lost:             counter("cistern_ledger_rows_lost_total", "Rows that were given up because the ledger could not be written for too long."),
		waiting:          gauge("cistern_ledger_waiting_bytes", "Rows of past hours that wait in memory to be written."),
		kept:             counter("cistern_quarantine_kept_total", "Dropped frames that were kept to look at."),
		quarantined:      gauge("cistern_quarantine_frames", "Dropped frames in the quarantine."),
		quarantinedBytes: gauge("cistern_quarantine_bytes", "Bytes of them."),
	}
	if l.opts.Registerer != nil {
		l.opts.Registerer.MustRegister(m)
	}
	return m
}

// rank is where a host stands among the others. It is used under the host's lock.
type rank struct {
	named bool
	from  totals  // at the time when it got its name: counted under Other
	last  uint64  // received at the last look
	rate  float64 // received a second, smoothed
	known bool    // there was a look before
}

// choose gives the busiest hosts series of their own. passed is the time since the
// last look.
func (m *metrics) choose(hosts []*Host, passed time.Duration) {
	type candidate struct {
		h    *Host
		rate float64
	}
	var list []candidate
	sum := 0.0
	for _, h := range hosts {
		rate := h.look(passed)
		sum += rate
		if rate > 0 && h.name != Other {
			list = append(list, candidate{h, rate})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Compare(b.rate, a.rate) })
	for _, c := range list[:min(len(list), topHosts)] {
		enough := m.named < topHosts || m.named < maxNamed && c.rate >= minShare*sum
		if enough && c.h.promote() {
			m.named++
		}
	}
}

// look updates the host's rate and returns it.
func (h *Host) look(passed time.Duration) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.rank
	seconds := max(passed.Seconds(), 1)
	now := float64(h.total.received-r.last) / seconds
	weight := min(seconds/rateOver.Seconds(), 1)
	if !r.known {
		weight = 1
	}
	r.rate += (now - r.rate) * weight
	r.last, r.known = h.total.received, true
	return r.rate
}

// promote gives the host its name, and says whether it had none.
func (h *Host) promote() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rank.named {
		return false
	}
	h.rank.named, h.rank.from = true, h.total
	return true
}

// Describe is of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.received
	ch <- m.accepted
	ch <- m.dropped
}

// Collect is of prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	var other totals
	for _, h := range m.l.all() {
		h.mu.Lock()
		t, r := h.total, h.rank
		h.mu.Unlock()
		if !r.named {
			other.add(t)
			continue
		}
		other.add(r.from)
		m.emit(ch, h.name, totals{t.received - r.from.received, t.accepted - r.from.accepted, t.dropped - r.from.dropped})
	}
	m.emit(ch, Other, other)
}

// Totals says how many frames came from hosts and how many of them were dropped, since the
// program started.
func (l *Ledger) Totals() (received, dropped uint64) {
	var sum totals
	for _, h := range l.all() {
		h.mu.Lock()
		sum.add(h.total)
		h.mu.Unlock()
	}
	return sum.received, sum.dropped
}

func (t *totals) add(u totals) {
	t.received += u.received
	t.accepted += u.accepted
	t.dropped += u.dropped
}

func (m *metrics) emit(ch chan<- prometheus.Metric, host string, t totals) {
	for _, s := range []struct {
		desc *prometheus.Desc
		n    uint64
	}{{m.received, t.received}, {m.accepted, t.accepted}, {m.dropped, t.dropped}} {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, float64(s.n), host)
	}
}
