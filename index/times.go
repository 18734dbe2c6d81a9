package index

import "encoding/binary"

// perSecond is how many units of a record's time (µs) are in those of an entry (s).
const perSecond = 1_000_000

// Second is the Unix second of a time in Unix µs; times before 1970 count as 1970.
func Second(witnessed int64) uint64 { return uint64(max(witnessed, 0)) / perSecond }

// Time notes the first record of a second. A second must be noted once and no
// earlier than those before it.
func (b *Batch) Time(second, seq uint64) {
	b.key = binary.BigEndian.AppendUint64(append(b.key[:0], spaceTime), second)
	b.set(b.key, "", binary.AppendUvarint(b.value[:0], seq))
}

// SeekTime returns a seq from which to read so as to find the first record that was
// witnessed at t (Unix µs) or later: no such record is below it, and all records
// that must be passed over are of the same second. When every indexed record is
// older, it is the first seq that is not indexed.
func (x *Index) SeekTime(t int64) (seq uint64, err error) {
	from := binary.BigEndian.AppendUint64([]byte{spaceTime}, Second(t))
	applied := x.Applied()
	_, seq, found, err := x.firstTime(from)
	if err != nil || found {
		return seq, err
	}
	return applied + 1, nil
}

func (x *Index) firstTime(from []byte) (second, seq uint64, found bool, err error) {
	err = x.each(keys{lower: from, upper: []byte{spaceTime + 1}}, func(key, value []byte) error {
		found = true
		if second, seq, err = decodeTime(key, value); err != nil {
			return err
		}
		return errEnough
	})
	return second, seq, found, err
}

// LastSecond returns the last second that has an entry, and false when none has.
func (x *Index) LastSecond() (second uint64, found bool, err error) {
	err = x.last(span(spaceTime), func(key, value []byte) error {
		found = true
		second, _, err = decodeTime(key, value)
		return err
	})
	return second, found, err
}

func decodeTime(key, value []byte) (second, seq uint64, err error) {
	if len(key) != 9 {
		return 0, 0, errValue
	}
	d := decoder{b: value}
	seq = d.uint()
	return binary.BigEndian.Uint64(key[1:]), seq, d.done()
}
