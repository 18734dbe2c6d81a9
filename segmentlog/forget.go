package segmentlog

import "errors"

// Forgetter is a reader that keeps what it read, as one with a cache on disk does. After
// Forget the n bytes from off are read again from where they are kept for good. A Segment
// calls it for bytes that are not what they should be and reads them once more, so that
// rot on the way is not taken for rot of the segment.
type Forgetter interface {
	Forget(off, n int64)
}

// forget has the reader forget the n bytes from off where err says that they are bad, and
// says whether to read them again.
func (s *Segment) forget(err error, off, n int64) bool {
	var c *CorruptError
	if !errors.As(err, &c) {
		return false
	}
	f, ok := s.r.(Forgetter)
	if ok {
		f.Forget(off, n)
	}
	return ok
}
