package identity

import (
	"bytes"
	"context"
	"time"

	"github.com/cistern-archive/cistern/index/disposable"
)

const (
	// sweepFirst and sweepEvery are when a sweep begins. One also begins when a quarter
	// of the budget was written since the last.
	sweepFirst = 10 * time.Minute
	sweepEvery = 6 * time.Hour
	// sweepKeys are read at once, and then sweepPause nothing: about 1 MB/s.
	sweepKeys  = 1000
	sweepPause = 100 * time.Millisecond
	// ageUnit is how finely a sweep tells ages apart.
	ageUnit = time.Hour
	ages    = int((freshFor + staleFor) / ageUnit)
)

// sweepNowAndThen drops what is too old to be of use, until ctx ends.
func (s *store) sweepNowAndThen(ctx context.Context) {
	timer := time.NewTimer(sweepFirst)
	defer timer.Stop()
	limit := freshFor + staleFor
	for {
		select {
		case <-timer.C:
		case <-s.sweeps:
		case <-ctx.Done():
			return
		}
		next := s.sweep(ctx, limit)
		if next < limit { // too much was left
			signal(s.sweeps)
		}
		limit = next
		timer.Reset(sweepEvery)
	}
}

// sweep drops what is older than limit. It returns the limit with which what is left
// is within the budget.
func (s *store) sweep(ctx context.Context, limit time.Duration) time.Duration {
	began := s.now()
	var sizes [ages]int64 // of what is left, by age
	var dropped, left int
	for from := []byte{spaceDocument}; from != nil && ctx.Err() == nil; pause(ctx, sweepPause) {
		c, err := s.sweepSome(ctx, from, began, limit)
		if err != nil {
			return limit // a store that fails has said so itself
		}
		for age, n := range c.bytes {
			sizes[age] += n
		}
		dropped += len(c.old)
		left += c.left
		from = c.next
	}
	if dropped > 0 {
		s.log.Debug("identity store swept", "dropped", dropped, "left", left, "older_than", limit)
	}
	return s.within(&sizes)
}

// swept is what was found in a part of the store.
type swept struct {
	next  []byte      // where the next part begins, nil at the end
	old   [][]byte    // keys that were dropped
	left  int         // documents that were not,
	bytes [ages]int64 // and their sizes by age
}

// sweepSome sweeps some keys. Nothing is written in between, so that it drops nothing
// that was just refreshed.
func (s *store) sweepSome(ctx context.Context, from []byte, now time.Time, limit time.Duration) (*swept, error) {
	s.committing.Lock()
	defer s.committing.Unlock()
	c, n := new(swept), 0
	err := s.db.Each(disposable.Keys{Lower: from, Upper: []byte{spaceDocument + 1}}, func(key, value []byte) error {
		if n++; n > sweepKeys {
			c.next = bytes.Clone(key)
			return disposable.ErrEnough
		}
		seconds, _, err := decodeFetched(value)
		if err != nil {
			return err
		}
		age := max(now.Sub(time.Unix(seconds, 0)), 0)
		if age >= limit {
			c.old = append(c.old, bytes.Clone(key))
			return nil
		}
		c.left++
		c.bytes[age/ageUnit] += int64(len(key) + len(value))
		return nil
	})
	if err != nil || len(c.old) == 0 {
		return c, err
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, key := range c.old {
		if err := b.Delete(key, nil); err != nil {
			return c, err
		}
	}
	return c, s.db.Commit(ctx, b)
}

// within is the age below which documents of these sizes are within the budget.
func (s *store) within(sizes *[ages]int64) time.Duration {
	var sum int64
	for age, n := range sizes {
		if sum += n; sum > s.budget {
			return time.Duration(max(age, 1)) * ageUnit
		}
	}
	return freshFor + staleFor
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
