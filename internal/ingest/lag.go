package ingest

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/cistern-archive/cistern/internal/frame"
)

const (
	// behindAfter is how old what a host sends may be, by its own word, before somebody
	// should look.
	behindAfter = 12 * time.Hour
	// behindWarn is how often that is logged of one host.
	behindWarn = time.Hour
	// behindFor is how long a host counts as behind after it sent something old: one
	// that has caught up, and has nothing more to say, is not behind.
	behindFor = 5 * time.Minute
)

// lag follows how far a host is behind.
type lag struct {
	mu     sync.Mutex
	at     time.Time     // when the last event came that was too old, zero when a newer one was not
	by     time.Duration // how old that was
	warned time.Time
}

// note takes an event made at a time, and says whether to warn.
func (l *lag) note(made, now time.Time) (warn bool) {
	by := now.Sub(made)
	l.mu.Lock()
	defer l.mu.Unlock()
	if by < behindAfter {
		l.at = time.Time{}
		return false
	}
	l.at, l.by = now, by
	if now.Sub(l.warned) < behindWarn {
		return false
	}
	l.warned = now
	return true
}

// behind is how far the host is behind, 0 when that is not worth a word.
func (l *lag) behind(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() || now.Sub(l.at) >= behindFor {
		return 0
	}
	return l.by
}

// heard notes an event that the host sent.
func (h *host) heard(ev *frame.Event) {
	h.lastEvent.Store(time.Now().UnixNano())
	made, err := time.Parse(time.RFC3339Nano, ev.Time)
	if err != nil {
		return // a form that ISO 8601 has and this has not
	}
	if now := h.m.opts.Now(); h.lag.note(made, now) {
		h.log.Warn("the host is far behind", "by", now.Sub(made).Round(time.Minute), "upstream_seq", ev.Seq)
	}
}

// exposeStanding registers what is counted when it is asked for.
func (m *Manager) exposeStanding(reg prometheus.Registerer) {
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cistern_ingest_hosts_behind", Help: "Hosts that lately sent what they made more than 12 hours ago.",
	}, func() float64 {
		n := 0
		for _, h := range m.Hosts() {
			if h.Behind > 0 {
				n++
			}
		}
		return float64(n)
	})
}
