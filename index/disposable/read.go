package disposable

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// ErrEnough ends a walk early, without an error.
var ErrEnough = errors.New("enough")

// Keys is a range of keys, Upper excluded.
type Keys struct{ Lower, Upper []byte }

// Each calls f with the keys of a range, in order. What it is given lives until it
// returns; ErrEnough ends the walk, and an ErrValue the store.
func (s *Store) Each(k Keys, f func(key, value []byte) error) error {
	return s.walk(k, (*pebble.Iterator).First, (*pebble.Iterator).Next, f)
}

// Last calls f with the last key of a range, when there is one.
func (s *Store) Last(k Keys, f func(key, value []byte) error) error {
	none := func(*pebble.Iterator) bool { return false }
	return s.walk(k, (*pebble.Iterator).Last, none, f)
}

func (s *Store) walk(k Keys, first, next func(*pebble.Iterator) bool, f func(key, value []byte) error) error {
	if err := s.health.end(); err != nil { // before the lock, which is of no use then
		return err
	}
	s.use.RLock()
	defer s.use.RUnlock()
	if err := s.health.end(); err != nil {
		return err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: k.Lower, UpperBound: k.Upper})
	if err != nil {
		return s.health.check(err)
	}
	for ok := first(it); ok && err == nil; ok = err == nil && next(it) {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = f(it.Key(), value)
		}
	}
	cerr := it.Close() // it gives the iterator's error again
	if errors.Is(err, ErrEnough) {
		err = nil
	}
	if err == nil {
		err = cerr
	}
	return s.health.check(err)
}

// Get calls f with the value of a key, when there is one; it lives until f returns.
// An ErrValue from f ends the store.
func (s *Store) Get(key []byte, f func(value []byte) error) (found bool, err error) {
	s.use.RLock()
	defer s.use.RUnlock()
	if err := s.health.end(); err != nil {
		return false, err
	}
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, s.health.check(err)
	}
	err = f(value)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return true, s.health.check(err)
}

// Bytes is about how much disk the store takes, 0 when it has ended.
func (s *Store) Bytes() int64 {
	var n int64
	err := s.guarded(func() error {
		n = int64(s.db.Metrics().DiskSpaceUsage())
		return nil
	})
	if err != nil {
		return 0
	}
	return n
}
