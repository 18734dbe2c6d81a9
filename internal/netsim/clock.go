package netsim

import (
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// clock gives every event its instant: virtual (start, then one step an event) or
// the wall clock. It never gives the same microsecond twice.
type clock struct {
	wall bool
	step time.Duration
	last int64 // Unix µs
}

func newClock(o Options) *clock {
	return &clock{wall: o.WallClock, step: o.ClockStep, last: o.Start.UnixMicro()}
}

// next returns the instant of the next event in Unix µs.
func (c *clock) next() int64 {
	if c.wall {
		c.last = max(c.last+1, time.Now().UnixMicro())
	} else {
		c.last += max(1, c.step.Microseconds())
	}
	return c.last
}

// formatTime writes an instant as the reference PDS does (RFC 3339 in UTC), with
// microseconds so that no two events read the same.
func formatTime(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// tid makes the TID of an instant.
func tid(micros int64, clockID uint) string {
	return syntax.NewTID(micros, clockID).String()
}
