package ledger

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cistern-archive/cistern/index/disposable"
)

// How long a flush waits for the disk, and the last one of all.
const (
	flushWithin = 5 * time.Second
	closeWithin = 2 * time.Second
)

// flush stores what was counted since the last one. l.flushing is held.
func (l *Ledger) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	l.moving.Lock()
	defer l.moving.Unlock()
	present := l.gather()
	s, err := l.keeper.open()
	if s != nil && err == nil {
		err = l.write(ctx, s, present)
	}
	if err != nil {
		l.metrics.failures.Inc()
	}
	l.keeper.say(err)
	if lost := l.waiting.shrink(); lost > 0 {
		l.metrics.lost.Add(float64(lost))
	}
	l.metrics.waiting.Set(float64(l.waiting.bytes))
}

// live is a row of the present hour, with its host.
type live struct {
	h *Host
	t *tally
}

// gather takes the rows of past hours to where they wait, and returns those of the
// present one that changed.
func (l *Ledger) gather() (present []live) {
	hour := l.hour.Load()
	for _, h := range l.all() {
		h.mu.Lock()
		h.retire(hour)
		past := h.past
		h.past = nil
		if h.row != nil && h.row.dirty {
			present = append(present, live{h, h.row})
		}
		h.mu.Unlock()
		for _, t := range past {
			l.waiting.put(l.rowOf(h, t), t.whole)
		}
	}
	return present
}

// rowOf returns what a tally has counted, and what the store had before. h.mu is held
// unless the tally is retired.
func (l *Ledger) rowOf(h *Host, t *tally) *Row {
	row := &Row{Host: h.name, Hour: t.hour, Counts: t.counts}
	if t.outcomes != nil {
		for n, p := range l.reasons.list() {
			if c := t.outcomes[n].count; c > 0 {
				row.Outcomes = append(row.Outcomes, Reason{Outcome: p.outcome, Reason: p.reason, Count: c})
			}
		}
		sortReasons(row.Outcomes)
	}
	if t.base == nil {
		return row
	}
	sum := *t.base
	sum.add(row)
	return &sum
}

// write stores rows, and then forgets the past ones.
func (l *Ledger) write(ctx context.Context, s *disposable.Store, present []live) error {
	b := s.NewBatch()
	defer func() { _ = b.Close() }() // it only gives back memory
	err := l.fill(b, present)
	expired := l.keeper.expired
	if err == nil {
		expired, err = l.keeper.expire(b, l.hour.Load())
	}
	if err == nil && b.Count() > 0 {
		err = l.keeper.commit(ctx, b)
	}
	if err != nil {
		for _, p := range present {
			p.h.again(p.t)
		}
		return err
	}
	l.keeper.expired = expired
	l.metrics.stored.Add(float64(len(present) + len(l.waiting.rows)))
	l.waiting.init(l.waiting.limit)
	return nil
}

// fill puts all rows into a batch, whole.
func (l *Ledger) fill(b *pebble.Batch, present []live) error {
	var key, value []byte // the batch copies
	for _, p := range present {
		if !p.t.whole {
			base, err := l.base(p.t.hour, p.h.name)
			if err != nil {
				return err
			}
			p.h.mu.Lock()
			p.t.base, p.t.whole = base, true
			p.h.mu.Unlock()
		}
		p.h.mu.Lock()
		row := l.rowOf(p.h, p.t)
		p.t.dirty = false
		p.h.mu.Unlock()
		key, value = appendKey(key[:0], row.Hour, row.Host), appendRow(value[:0], row)
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
	}
	for name, w := range l.waiting.rows {
		value = append(value[:0], w.value...)
		if !w.whole {
			row := new(Row)
			if err := l.complete(name, w, row); err != nil {
				return err
			}
			value = appendRow(value[:0], row)
		}
		if err := b.Set([]byte(name), value, nil); err != nil {
			return err
		}
	}
	return nil
}

// base returns what is known of a host's hour beside what is being counted, nil for
// nothing. It may be what waits, when the clock was set back: that waits no more.
func (l *Ledger) base(hour int64, host string) (*Row, error) {
	stored, err := l.keeper.get(hour, host)
	if err != nil {
		return nil, err
	}
	w, ok := l.waiting.take(string(appendKey(nil, hour, host)), hour, host)
	if !ok {
		return stored, nil
	}
	if stored != nil && !w.whole {
		stored.add(w.row)
		return stored, nil
	}
	return w.row, nil
}

// complete gives a waiting row what the store has of it.
func (l *Ledger) complete(key string, w *waitingRow, row *Row) error {
	hour, host, err := decodeKey([]byte(key))
	if err != nil {
		return err
	}
	stored, err := l.keeper.get(hour, host)
	if err != nil {
		return err
	}
	*row = Row{Host: host, Hour: hour}
	if err := decodeRow(w.value, row); err != nil {
		return err
	}
	if stored != nil {
		stored.add(row)
		*row = *stored
	}
	return nil
}

// again marks a row as not stored after all.
func (h *Host) again(t *tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.row != t && !t.dirty { // it was retired as stored
		h.past = append(h.past, t)
	}
	t.dirty = true
}
