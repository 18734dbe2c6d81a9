package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cistern-archive/cistern/internal/crawl"
)

// overview is what changes all the time.
type overview struct {
	Rates
	Tip       uint64  `json:"tip"`
	Connected int     `json:"connected"`
	Hosts     int     `json:"hosts"`
	Offline   int     `json:"offline"`
	Consumers int     `json:"consumers"`
	LagMax    uint64  `json:"lagMax"` // seqs that the last consumer is behind
	ShipBytes int64   `json:"shipBytes"`
	ShipAge   float64 `json:"shipAge"` // seconds
	DiskUsed  int64   `json:"diskUsed"`
	DiskMost  int64   `json:"diskMost"`
}

func (d *Dashboard) overview() overview {
	o := overview{Rates: d.sampler.current(), Tip: d.s.Stream().Newest.Seq}
	hosts := d.s.Hosts()
	o.Hosts = len(hosts)
	for i := range hosts {
		if hosts[i].HostInfo.Connected {
			o.Connected++
		}
		if hosts[i].Status == crawl.Offline {
			o.Offline++
		}
	}
	for _, c := range d.s.Consumers() {
		o.Consumers++
		o.LagMax = max(o.LagMax, c.Lag)
	}
	var since int64
	if o.ShipBytes, since = d.s.ShipLag(); since > 0 {
		o.ShipAge = max(0, d.s.Now().Sub(time.UnixMicro(since)).Seconds())
	}
	o.DiskUsed, o.DiskMost = d.s.Disk()
	return o
}

// live sends what changes as server-sent events (HTML, section 9.2), one every two seconds.
func (d *Dashboard) live(w http.ResponseWriter, r *http.Request) {
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		b, err := json.Marshal(d.overview())
		if err != nil {
			return
		}
		// A connection that cannot have a deadline is a test's.
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-d.ctx.Done():
			return
		}
	}
}
