package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/cistern-archive/cistern/internal/frame"
)

const (
	// agesKept is how many events' ages behind takes the median of, so that a host whose
	// clock is wrong does not make a relay late.
	agesKept = 15
	// askTipEvery is how often a relay is asked how far it is, while the log is behind by
	// more than askTipBehind.
	askTipEvery  = 15 * time.Second
	askTipBehind = 10 * time.Second
)

// behind follows how far the log is behind a relay.
type behind struct {
	mu   sync.Mutex
	tip  uint64 // the highest number that the relay is known to have
	ages [agesKept]agedEvent
	n    int
}

// agedEvent is an event that was decided.
type agedEvent struct {
	written time.Time // by its host's word
	decided time.Time
}

// heard notes a number that the relay has.
func (b *behind) heard(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tip = max(b.tip, seq)
}

// restart forgets the numbers of a relay that began anew.
func (b *behind) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tip = 0
}

// note takes an event that was decided.
func (b *behind) note(ev *frame.Event, now time.Time) {
	written, err := time.Parse(time.RFC3339Nano, ev.Time)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ages[b.n%agesKept] = agedEvent{written, now}
	b.n++
}

// age is how old events are, in the middle. Of events that come as they are made it is
// their age when they were decided; waits says that others wait, or that none can come.
func (b *behind) age(now time.Time, waits bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(b.n, agesKept)
	if n == 0 {
		return 0
	}
	var ages [agesKept]time.Duration
	for i, a := range b.ages[:n] {
		if ages[i] = a.decided.Sub(a.written); waits {
			ages[i] = now.Sub(a.written)
		}
	}
	slices.Sort(ages[:n])
	return max(ages[n/2], 0)
}

// events is how many numbers the relay has above one.
func (b *behind) events(done uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tip - min(b.tip, done)
}

// RelayInfo is how far the log is behind a relay.
type RelayInfo struct {
	Events uint64        // numbers of the relay that are not decided yet
	For    time.Duration // how old what is decided is
	Broken string        // why nothing is read from it until somebody decides, "" while it is
}

// info says how far the log is behind.
func (y *relayed) info() *RelayInfo {
	y.h.mu.Lock()
	defer y.h.mu.Unlock()
	return y.standing(y.h.up != nil, y.h.win)
}

func (y *relayed) standing(connected bool, win *window) *RelayInfo {
	i := &RelayInfo{Events: y.behind.events(win.floor()), For: y.behind.age(y.h.m.opts.Now(), !connected || len(y.line) > 0)}
	if broken := y.broken.Load(); broken != nil {
		i.Broken = broken.Error()
	}
	return i
}

// watch asks the relay how far it is, as long as the log is behind: what comes over a
// connection that catches up does not tell.
func (y *relayed) watch() {
	ctx := y.h.m.reading
	for sleep(ctx, askTipEvery) {
		if i := y.info(); i.For < askTipBehind || i.Broken != "" {
			continue
		}
		if seq, err := y.askTip(ctx); err == nil {
			y.behind.heard(seq)
		}
	}
}

// askTip asks the relay for the number of its next event.
func (y *relayed) askTip(ctx context.Context) (uint64, error) {
	d := &y.h.m.dial
	ctx, cancel := context.WithTimeout(ctx, d.opts.HandshakeTimeout)
	defer cancel()
	up, err := d.open(ctx, &y.h.addr, y.h.addr.liveURL())
	if err != nil {
		return 0, err
	}
	up.large = &y.h.large
	defer context.AfterFunc(ctx, func() { up.close(ErrStopped) })()
	m := getMessage()
	defer m.release()
	err = up.next()
	if err == nil {
		_, err = up.read(ctx, m)
	}
	if err == nil {
		err = frame.ParseInto(m.buf, &m.ev)
	}
	if err == nil && !m.ev.HasSeq() {
		err = errors.New("the next message is no event")
	}
	seq := m.ev.Seq
	_ = up.finish(ErrStopped) // there is nothing more to read
	return seq, err
}

// expose registers what is known of the relay.
func (y *relayed) expose(reg prometheus.Registerer) {
	f := promauto.With(reg)
	gauge := func(name, help string, value func(*RelayInfo) float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"relay": y.h.addr.name}},
			func() float64 { return value(y.info()) })
	}
	gauge("cistern_upstream_behind_events", "Numbers of the upstream relay that are not decided yet.", func(i *RelayInfo) float64 { return float64(i.Events) })
	gauge("cistern_upstream_behind_seconds", "How old the upstream relay's events are when they are decided.", func(i *RelayInfo) float64 { return i.For.Seconds() })
	gauge("cistern_upstream_numbering_broken", "1 while nothing is read from the upstream relay because its numbers are not those of the log.", func(i *RelayInfo) float64 {
		if i.Broken != "" {
			return 1
		}
		return 0
	})
}
