package index

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// The key spaces. Part of the format.
const (
	spaceAccount    = 'a'
	spaceBlock      = 'b'
	spaceCollection = 'c'
	spaceHost       = 'h'
	spaceMeta       = 'm'
	spaceSegment    = 's'
	spaceTime       = 't'
)

// keys is a range of keys, upper excluded.
type keys struct{ lower, upper []byte }

// span is all keys of a space.
func span(space byte) keys { return keys{[]byte{space}, []byte{space + 1}} }

// successor is the first key behind all that begin with prefix, whose last byte is
// not 0xff.
func successor(prefix []byte) []byte {
	s := append([]byte(nil), prefix...)
	s[len(s)-1]++
	return s
}

// errEnough ends a walk early, without an error.
var errEnough = errors.New("enough")

// each calls f with the keys of a range, in order. What it is given lives until it
// returns; errEnough ends the walk.
func (x *Index) each(k keys, f func(key, value []byte) error) error {
	return x.walk(k, (*pebble.Iterator).First, (*pebble.Iterator).Next, f)
}

// last calls f with the last key of a range, when there is one.
func (x *Index) last(k keys, f func(key, value []byte) error) error {
	none := func(*pebble.Iterator) bool { return false }
	return x.walk(k, (*pebble.Iterator).Last, none, f)
}

func (x *Index) walk(k keys, first, next func(*pebble.Iterator) bool, f func(key, value []byte) error) error {
	x.use.RLock()
	defer x.use.RUnlock()
	if err := x.health.end(); err != nil {
		return err
	}
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: k.lower, UpperBound: k.upper})
	if err != nil {
		return x.health.check(err)
	}
	for ok := first(it); ok && err == nil; ok = err == nil && next(it) {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = f(it.Key(), value)
		}
	}
	cerr := it.Close() // it gives the iterator's error again
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil {
		err = cerr
	}
	return x.health.check(err)
}

// get calls f with the value of a key, when there is one.
func (x *Index) get(key []byte, f func(value []byte) error) (found bool, err error) {
	x.use.RLock()
	defer x.use.RUnlock()
	if err := x.health.end(); err != nil {
		return false, err
	}
	value, closer, err := x.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, x.health.check(err)
	}
	err = f(value)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return true, x.health.check(err)
}
