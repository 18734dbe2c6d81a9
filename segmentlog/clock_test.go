package segmentlog

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// wallClock is a wall clock that someone sets, beside a monotonic one that nobody
// can. Both run on the time of the test's bubble.
type wallClock struct {
	began  time.Time
	offset atomic.Int64 // of the wall clock, ns
	jumps  []time.Duration
	backs  int
}

func (c *wallClock) options() Options {
	c.began = time.Now()
	o := testOptions(vfs.NewMem())
	o.Now = func() time.Time { return time.Now().Add(time.Duration(c.offset.Load())).Round(0) }
	o.Monotonic = func() time.Duration { return time.Since(c.began) }
	o.Events.ClockJump = func(d time.Duration) { c.jumps = append(c.jumps, d) }
	o.Events.ClockBack = func() { c.backs++ }
	return o
}

func (c *wallClock) set(offset time.Duration) { c.offset.Store(int64(offset)) }

func TestAWallClockThatJumpsPausesIntakeUntilItIsBack(t *testing.T) {
	for _, jump := range []time.Duration{maxClockJump + time.Second, -maxClockJump - time.Second, 100 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var c wallClock
			o := c.options()
			committed := newSeen()
			o.OnCommit = committed.commit
			l := mustOpen(t, o)
			committed.wait(mustAppend(t, l, 0))
			time.Sleep(time.Hour) // passes on both clocks
			committed.wait(mustAppend(t, l, 1))

			c.set(jump)
			if _, err := l.Append(cancelled, testEntry(2)); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: append gives %v, want it to block", jump, err)
			}
			done := make(chan uint64)
			go func() { done <- mustAppend(t, l, 2) }()
			time.Sleep(10 * time.Minute)
			select {
			case <-done:
				t.Fatalf("%s: intake went on", jump)
			default:
			}
			if n := len(readAll(t, l, 0)); n != 2 {
				t.Fatalf("%d records are served during the pause", n)
			}
			c.set(time.Minute) // not quite right, but within bounds
			committed.wait(<-done)
			recs := readAll(t, l, 0)
			if want := time.Now().Add(time.Minute).UnixMicro(); recs[2].Witnessed > want {
				t.Fatalf("%s: witnessed %d, the clock says %d", jump, recs[2].Witnessed, want)
			}
			if !slices.Equal(c.jumps, []time.Duration{jump}) || c.backs != 1 {
				t.Fatalf("reported %v and %d times back", c.jumps, c.backs)
			}
			mustClose(t, l)
		})
	}
}

func TestSmallStepsOfTheClockDoNotAddUpToAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c wallClock
		l := mustOpen(t, c.options())
		offset := time.Duration(0)
		for n := range 200 {
			if offset += 4 * time.Minute; n > 100 {
				offset -= 8 * time.Minute
			}
			c.set(offset)
			mustAppend(t, l, n)
		}
		mustClose(t, l)
		if len(c.jumps) != 0 {
			t.Fatalf("reported %v", c.jumps)
		}
		last := int64(0)
		for _, r := range readAll(t, l, 0) {
			if r.Witnessed < last {
				t.Fatalf("seq %d was witnessed before the one before it", r.Seq)
			}
			last = r.Witnessed
		}
	})
}

func TestAppendThatWaitsForTheClockEndsWithTheLogAndWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c wallClock
		l := mustOpen(t, c.options())
		mustAppend(t, l, 0)
		c.set(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Append(ctx, testEntry(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := l.Append(t.Context(), testEntry(1))
			done <- err
		}()
		synctest.Wait()
		mustClose(t, l)
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		// A start takes the clock as it is now.
		l = mustOpen(t, l.opts)
		mustAppend(t, l, 1)
		if n := len(c.jumps); n != 1 {
			t.Fatalf("%d jumps reported", n)
		}
		mustClose(t, l)
	})
}

func TestTheSystemsOwnClockIsTrusted(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Events.ClockJump = func(d time.Duration) { t.Errorf("jumped by %s", d) }
	l := mustOpen(t, o)
	for n := range 100 {
		mustAppend(t, l, n)
	}
	mustClose(t, l)
}
