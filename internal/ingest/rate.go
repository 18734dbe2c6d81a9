package ingest

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates are how many events a host may send; 0 is any number.
type Rates struct {
	PerSecond, PerHour, PerDay int64
}

// brake slows the reading of a host down to its rates. Nothing is dropped: what is not
// read waits with the host. It outlives connections, so that reconnecting gains
// nothing.
type brake struct {
	mu      sync.Mutex
	rates   Rates
	buckets [3]*rate.Limiter // nil for any number
	changed chan struct{}    // closed when the rates change
	until   time.Time        // when the last wait ends or ended
}

func newBrake(r Rates, now time.Time) *brake {
	b := new(brake)
	b.set(r, now)
	return b
}

// set changes the rates. What was saved up under the old ones is kept.
func (b *brake) set(r Rates, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rates = r
	for i, per := range []struct {
		events int64
		time   time.Duration
	}{{r.PerSecond, time.Second}, {r.PerHour, time.Hour}, {r.PerDay, 24 * time.Hour}} {
		limit := rate.Limit(float64(per.events) / per.time.Seconds())
		switch l := b.buckets[i]; {
		case per.events <= 0:
			b.buckets[i] = nil
		case l == nil:
			b.buckets[i] = rate.NewLimiter(limit, int(per.events))
		default:
			l.SetLimitAt(now, limit)
			l.SetBurstAt(now, int(per.events))
		}
	}
	if b.changed != nil {
		close(b.changed)
	}
	b.changed = make(chan struct{})
}

// take asks to read one more event and says how long to wait first, and what is closed
// if the rates change meanwhile.
func (b *brake) take(now time.Time) (wait time.Duration, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.buckets {
		if l != nil {
			wait = max(wait, l.ReserveN(now, 1).DelayFrom(now))
		}
	}
	if wait > 0 {
		b.until = now.Add(wait)
	}
	return wait, b.changed
}

// throttledFor is how long a host counts as throttled after it was slowed down.
const throttledFor = time.Minute

// state says what the rates are, and whether they slow the host down.
func (b *brake) state(now time.Time) (r Rates, throttled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rates, !b.until.IsZero() && now.Before(b.until.Add(throttledFor))
}

// slowDown waits until the host's rates allow one more event.
func (h *host) slowDown(ctx context.Context, up *upstream) {
	wait, changed := h.brake.take(time.Now())
	if wait <= 0 {
		return
	}
	h.m.metrics.slowed.Inc()
	up.paused.Store(true)
	defer up.paused.Store(false)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// rates are the host's own, as the options say.
func (m *Manager) rates(host string) Rates {
	if m.opts.Rates == nil {
		return Rates{}
	}
	return m.opts.Rates(host)
}

// NewRates asks Options.Rates again for a host that is being read.
func (m *Manager) NewRates(name string) {
	if h := m.reads(name); h != nil {
		h.brake.set(m.rates(name), time.Now())
	}
}
