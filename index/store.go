package index

import "github.com/cistern-archive/cistern/index/disposable"

// The key spaces. Part of the format.
const (
	spaceAccount    = 'a'
	spaceBlock      = 'b'
	spaceCollection = 'c'
	spaceHost       = 'h'
	spaceCrawl      = 'k'
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
var errEnough = disposable.ErrEnough

// each calls f with the keys of a range, in order. What it is given lives until it
// returns; errEnough ends the walk.
func (x *Index) each(k keys, f func(key, value []byte) error) error {
	return x.store.Each(disposable.Keys{Lower: k.lower, Upper: k.upper}, f)
}

// last calls f with the last key of a range, when there is one.
func (x *Index) last(k keys, f func(key, value []byte) error) error {
	return x.store.Last(disposable.Keys{Lower: k.lower, Upper: k.upper}, f)
}

// get calls f with the value of a key, when there is one.
func (x *Index) get(key []byte, f func(value []byte) error) (found bool, err error) {
	return x.store.Get(key, f)
}
