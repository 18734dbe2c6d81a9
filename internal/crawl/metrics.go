package crawl

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests *prometheus.CounterVec // result
	pulls    *prometheus.CounterVec // result
}

func newMetrics(reg prometheus.Registerer, c *Crawler) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_crawl_requests_total", Help: "Calls of requestCrawl.",
		}, []string{"result"}),
		pulls: f.NewCounterVec(prometheus.CounterOpts{
			Name: "cistern_crawl_pulls_total", Help: "Times that another relay was asked for its hosts.",
		}, []string{"result"}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cistern_crawl_validations", Help: "Hosts that are being validated.",
	}, func() float64 { return float64(len(c.slots)) })
	if reg != nil {
		reg.MustRegister(&hostsByStatus{c, prometheus.NewDesc("cistern_crawl_hosts", "Hosts that are known.", []string{"status"}, nil)})
	}
	return m
}

// outcome is the label of what came of a request.
func outcome(err error) string {
	var invalid *InvalidError
	var banned *BannedError
	var limited *LimitError
	var unreachable *UnreachableError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &invalid):
		return "invalid"
	case errors.As(err, &banned):
		return "banned"
	case errors.As(err, &limited):
		return "limited"
	case errors.As(err, &unreachable):
		return "unreachable"
	}
	return "refused"
}

// hostsByStatus counts hosts when it is asked.
type hostsByStatus struct {
	c    *Crawler
	desc *prometheus.Desc
}

// Describe is prometheus.Collector's.
func (h *hostsByStatus) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect is prometheus.Collector's.
func (h *hostsByStatus) Collect(ch chan<- prometheus.Metric) {
	counts := make(map[Status]int, len(statuses))
	for _, host := range h.c.Hosts() {
		counts[host.Status]++
	}
	for _, s := range statuses {
		ch <- prometheus.MustNewConstMetric(h.desc, prometheus.GaugeValue, float64(counts[s]), string(s))
	}
}
