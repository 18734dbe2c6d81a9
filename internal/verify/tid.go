package verify

// tidSize is the length of a TID (the record-key page): 13 characters of
// base32-sortable, 5 bits each, of a 64-bit number whose top bit is 0. The upper 53
// of the 63 bits that count are microseconds since 1970, the lower 10 a clock id.
const tidSize = 13

// tidMaxFirst is the greatest first character: it holds the top bits only.
const tidMaxFirst = 'j'

// tidDigit maps a character of base32-sortable to its value, 0xff for others.
var tidDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("234567abcdefghijklmnopqrstuvwxyz") {
		t[c] = byte(i)
	}
	return t
}()

// tidMicros returns the time of a TID in microseconds since 1970, and false when
// it is not a TID.
func tidMicros(tid []byte) (int64, bool) {
	if len(tid) != tidSize || tid[0] > tidMaxFirst {
		return 0, false
	}
	var v uint64
	for _, c := range tid {
		d := tidDigit[c]
		if d == 0xff {
			return 0, false
		}
		v = v<<5 | uint64(d)
	}
	return int64(v >> 10), true
}
