package segmentlog

import (
	"context"
	"time"
)

const (
	// maxClockJump is how far the wall clock may move against the monotonic clock
	// between two events.
	maxClockJump = 5 * time.Minute
	// clockRetry is how often the clock is looked at again while it is out of bounds.
	clockRetry = time.Second
)

// clockGuard holds the wall clock against the monotonic clock. What an event is
// witnessed at stays in the log for ever, so a clock that someone sets wrong by
// years must not get there. The reference moves on with every reading that is
// within bounds: small steps and a clock that is slewed do not add up.
type clockGuard struct {
	elapsed func(now time.Time) time.Duration // the monotonic clock
	wall    int64                             // Unix µs of the reference
	mono    time.Duration                     // and the monotonic clock then
	jumped  bool                              // the last reading was out of bounds
}

func newClockGuard(o *Options) clockGuard {
	began := o.Now()
	g := clockGuard{wall: began.UnixMicro()}
	if o.Monotonic == nil {
		g.elapsed = func(now time.Time) time.Duration { return now.Sub(began) }
	} else {
		g.elapsed = func(time.Time) time.Duration { return o.Monotonic() }
		g.mono = o.Monotonic()
	}
	return g
}

// jump is how far the wall clock moved against the monotonic clock since the
// reference, 0 when it is within bounds: then now is the new reference.
func (g *clockGuard) jump(now time.Time) time.Duration {
	wall, mono := now.UnixMicro(), g.elapsed(now)
	jump := time.Duration(wall-g.wall)*time.Microsecond - (mono - g.mono)
	if jump.Abs() > maxClockJump {
		return jump
	}
	g.wall, g.mono = wall, mono
	return 0
}

// waitForClock returns, with l.mu held, the time when it can be trusted.
func (l *Log) waitForClock(ctx context.Context) (time.Time, error) {
	for {
		now := l.now()
		jump := l.clock.jump(now)
		if jump == 0 && !l.clock.jumped {
			return now, l.err
		}
		if was := l.clock.jumped; was != (jump != 0) {
			l.clock.jumped = !was
			l.mu.Unlock() // a callback may ask the log
			l.reportClock(jump)
			l.mu.Lock()
			continue
		}
		if err := l.sleep(ctx, clockRetry); err != nil {
			return now, err
		}
	}
}

// sleep waits, without l.mu, for d, for ctx or for the end of the log.
func (l *Log) sleep(ctx context.Context, d time.Duration) error {
	wake := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.room.Broadcast()
	}
	defer time.AfterFunc(d, wake).Stop()
	defer context.AfterFunc(ctx, wake)()
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.err == nil {
		l.room.Wait()
	}
	return l.err
}

// reportClock tells people that the clock jumped, or that it is back when jump is 0.
func (l *Log) reportClock(jump time.Duration) {
	if jump == 0 {
		l.opts.Logger.Info("the clock is within bounds again, intake goes on")
		l.opts.Events.ClockBack()
		return
	}
	l.opts.Logger.Error("the wall clock jumped: intake is paused, serving goes on; set the clock right, or restart if it is right now",
		"jump", jump.Round(time.Second))
	l.opts.Events.ClockJump(jump)
}
