package replay

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what is counted besides what each consumer counts.
type metrics struct {
	closed   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	delivery prometheus.Histogram
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_replay_closed_total", Help: "Consumers' connections that ended, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_replay_refused_total", Help: "Connections that were refused before they became a consumer's, by limit.",
		}, []string{"limit"}),
	}
	m.delivery = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "cistern_replay_delivery_seconds",
		Help:    "Time from an event's fsync until a consumer that reads memory was written it, of one write in 16.",
		Buckets: []float64{.001, .002, .005, .01, .015, .02, .03, .04, .05, .06, .08, .1, .2, .5, 1, 2, 5, 10},
	})
	s.opts.Registerer.MustRegister(m.closed, m.refused, m.delivery, collector{s})
	return m
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("cistern_replay_"+name, help, labels, nil)
}

var (
	consumersDesc  = describe("consumers", "Consumers connected now, by the tier they read last.", "tier")
	eventsDesc     = describe("events_total", "Events written to consumers, by the tier they came from.", "tier")
	bytesDesc      = describe("bytes_total", "Bytes written to consumers, by the tier they came from.", "tier")
	lagDesc        = describe("lag_max", "How many sequence numbers the consumer that is furthest behind is below the log's tip.")
	suppressedDesc = describe("suppressed_accounts", "Accounts whose commits are not sent now.")
	blockBytesDesc = describe("block_bytes", "Memory of the blocks of files that are prepared for sending.")
	blocksDesc     = describe("blocks_total", "Blocks of files that readers asked for: prepared, or there already.", "from")
)

// collector reads what consumers count when it is asked.
type collector struct{ s *Server }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{consumersDesc, eventsDesc, bytesDesc, lagDesc, suppressedDesc, blockBytesDesc, blocksDesc} {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	connected, sum, lag := c.s.totals()
	for t := range tiers {
		gauge(consumersDesc, connected[t], t.String())
		counter(eventsDesc, sum.events[t], t.String())
		counter(bytesDesc, sum.bytes[t], t.String())
	}
	gauge(lagDesc, int(lag))
	if set := c.s.opts.Suppressed; set != nil {
		gauge(suppressedDesc, set.Len())
	}
	blocks := c.s.opts.Source.Blocks.Stats()
	gauge(blockBytesDesc, blocks.Bytes)
	counter(blocksDesc, blocks.Prepared, "files")
	counter(blocksDesc, blocks.Hits, "memory")
}

// totals of consumers.
type totals struct{ events, bytes [tiers]uint64 }

func (t *totals) add(s *consumerStats) {
	for i := range t.events {
		t.events[i] += s.events[i].Load()
		t.bytes[i] += s.bytes[i].Load()
	}
}

// Served returns how many events, and how many bytes, were written to consumers so far.
func (s *Server) Served() (events, bytes uint64) {
	_, sum, _ := s.totals()
	for t := range tiers {
		events += sum.events[t]
		bytes += sum.bytes[t]
	}
	return events, bytes
}

// totals adds up what consumers counted, those who left too.
func (s *Server) totals() (connected [tiers]int, sum totals, lag uint64) {
	tip := s.opts.Source.Log.Tip()
	s.mu.Lock()
	defer s.mu.Unlock()
	sum = s.left
	for c := range s.consumers {
		connected[c.stats.tier.Load()]++
		sum.add(&c.stats)
		lag = max(lag, tip-min(tip, c.stats.position.Load()))
	}
	return connected, sum, lag
}
