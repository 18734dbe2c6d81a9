package ledger

import (
	"sync"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Host counts one host. Its methods may be called from any goroutine; those of a nil
// Host count nothing.
type Host struct {
	l    *Ledger
	name string

	mu    sync.Mutex
	row   *tally   // of the hour in which something was counted last, else nil
	past  []*tally // of earlier hours, not yet taken to be stored
	total totals   // since the start of the process
	rank  rank
}

// totals are a host's series in /metrics.
type totals struct{ received, accepted, dropped uint64 }

// tally is a row that is being counted. It is used under its host's lock.
type tally struct {
	hour     int64
	counts   Counts
	outcomes *[maxReasons]tallied // by number, nil until there is one

	// base is what the store had of this hour before, nil for nothing. With whole it
	// has been looked up.
	base  *Row
	whole bool
	dirty bool // counted since it was last stored
}

type tallied struct {
	count uint64
	tried int64 // Unix s of the last attempt to keep such a frame
}

// present returns the row of this hour. h.mu is held.
func (h *Host) present() *tally {
	hour := h.l.hour.Load()
	if h.row == nil || h.row.hour != hour {
		h.retire(hour)
		h.row = &tally{hour: hour}
	}
	h.row.dirty = true
	return h.row
}

// retire puts the row of another hour away. h.mu is held.
func (h *Host) retire(hour int64) {
	if h.row == nil || h.row.hour == hour {
		return
	}
	if h.row.dirty {
		h.past = append(h.past, h.row)
	}
	h.row = nil
}

// Received counts a binary message that came, of size bytes.
func (h *Host) Received(size int) {
	if h == nil {
		return
	}
	h.mu.Lock()
	t := h.present()
	t.counts.Received++
	t.counts.Bytes += uint64(size)
	h.total.received++
	h.mu.Unlock()
}

// Accepted counts an event that entered the log.
func (h *Host) Accepted(kind frame.Kind, v segmentlog.Verdict) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.present().counts.accept(kind, v)
	h.total.accepted++
	h.mu.Unlock()
}

// Frame is what was not accepted.
type Frame struct {
	DID string // "" when it is not known
	Seq uint64 // the host's, 0 when it is not known
	Raw []byte // as it came, or as much of it as was read; copied when it is kept
}

// Refused counts a frame that was Dropped or Ignored, and may keep one that was dropped.
func (h *Host) Refused(o Outcome, reason string, f Frame) {
	if h == nil {
		return
	}
	n := h.l.reasons.number(o, reason)
	now := h.l.clock.Load()
	h.mu.Lock()
	c := h.present().outcome(n)
	c.count++
	keep := false
	if o == Dropped {
		h.total.dropped++
		if keep = c.tried != now; keep {
			c.tried = now
		}
	}
	h.mu.Unlock()
	if keep {
		h.l.quarantine.offer(h.name, reason, n, now, f)
	}
}

// Closed counts a connection that we closed for what the host did; no reason counts
// nothing.
func (h *Host) Closed(reason string) {
	if h == nil || reason == "" {
		return
	}
	n := h.l.reasons.number(Closed, reason)
	h.mu.Lock()
	h.present().outcome(n).count++
	h.mu.Unlock()
}

// Restarted counts that the host restarted its numbering.
func (h *Host) Restarted() { h.note(func(c *Counts) { c.Restarts++ }) }

// Failed counts an error frame.
func (h *Host) Failed() { h.note(func(c *Counts) { c.Errors++ }) }

// note counts what comes seldom.
func (h *Host) note(count func(*Counts)) {
	if h == nil {
		return
	}
	h.mu.Lock()
	count(&h.present().counts)
	h.mu.Unlock()
}

func (t *tally) outcome(n uint8) *tallied {
	if t.outcomes == nil {
		t.outcomes = new([maxReasons]tallied)
	}
	return &t.outcomes[n]
}

// Connected counts a connection that goes on from cursor, and returns what follows
// its numbers. It is for the connection's goroutine.
func (h *Host) Connected(cursor uint64) *Connection {
	if h == nil {
		return nil
	}
	h.note(func(c *Counts) { c.Connections++ })
	return &Connection{h: h, last: cursor, first: true}
}

// Connection follows the numbers and times of a connection. The methods of a nil
// Connection count nothing.
type Connection struct {
	h        *Host
	last     uint64 // highest number so far, at first the cursor
	first    bool   // no new event came yet
	outdated bool   // the host said that events are missing, and none came since
	measured int64  // Unix s when Behind was last measured
}

// Info counts an #info, and whether it says that events are missing.
func (c *Connection) Info(name string) {
	if c == nil {
		return
	}
	outdated := name == "OutdatedCursor"
	c.outdated = c.outdated || outdated
	c.h.note(func(n *Counts) {
		n.Infos++
		if outdated {
			n.Outdated = Gap{Count: n.Outdated.Count + 1, Cursor: c.last}
		}
	})
}

// Fresh notes a new event: its number, above all before it, and its time as the host
// wrote it. The event is counted elsewhere.
func (c *Connection) Fresh(seq uint64, written string) {
	if c == nil {
		return
	}
	before := c.last
	c.last = seq
	if c.first || c.outdated {
		c.resume(before, seq)
	}
	if now := c.h.l.clock.Load(); now != c.measured {
		c.measured = now
		c.measure(written)
	}
}

// Skipped notes that the numbers between two are of no event. It is called before Fresh.
func (c *Connection) Skipped(last, seq uint64) {
	if c == nil {
		return
	}
	c.h.note(func(n *Counts) {
		n.Skipped = Gap{Count: n.Skipped.Count + 1, Cursor: last, First: seq}
		n.SkippedNumbers += seq - last - 1
	})
}

// resume notes the first number of a connection, or after an #info.
func (c *Connection) resume(before, seq uint64) {
	c.h.note(func(n *Counts) {
		switch {
		case c.outdated:
			n.Outdated.Cursor, n.Outdated.First = before, seq
		case before > 0 && seq != before+1:
			n.Resumed = Gap{Count: n.Resumed.Count + 1, Cursor: before, First: seq}
		}
	})
	c.first, c.outdated = false, false
}

// measure notes how old an event is, when its time can be read.
func (c *Connection) measure(written string) {
	t, err := time.Parse(time.RFC3339, written)
	if err != nil {
		return
	}
	age := c.h.l.opts.Now().Sub(t)
	c.h.note(func(n *Counts) { n.Behind.measure(age) })
}
