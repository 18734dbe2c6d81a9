package dagcbor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// Major types (RFC 8949, section 3.1).
const (
	MajorUint  = 0
	MajorNint  = 1
	MajorBytes = 2
	MajorText  = 3
	MajorArray = 4
	MajorMap   = 5
	MajorTag   = 6
	MajorOther = 7
)

// MaxDepth bounds nesting: deeper items are refused (ErrDepth).
const MaxDepth = 64

// Errors of this package. ErrNotCanonical alone means that a lenient decoder may
// still make sense of the bytes; every other error is final.
var (
	ErrTruncated    = errors.New("dagcbor: item ends early")
	ErrNotCanonical = errors.New("dagcbor: not canonical")
	ErrType         = errors.New("dagcbor: unexpected type")
	ErrDuplicateKey = errors.New("dagcbor: duplicate map key")
	ErrFloat        = errors.New("dagcbor: float")
	ErrTag          = errors.New("dagcbor: tag that is not a CID link")
	ErrSimple       = errors.New("dagcbor: unknown simple value")
	ErrUTF8         = errors.New("dagcbor: text is not UTF-8")
	ErrDepth        = errors.New("dagcbor: nested too deeply")
	ErrTrailing     = errors.New("dagcbor: bytes after the item")
	ErrKey          = errors.New("dagcbor: map key that is not text")
	ErrMalformed    = errors.New("dagcbor: reserved head")
	ErrCID          = errors.New("dagcbor: link to what is not a CIDv1 of dag-cbor or raw data with SHA-256")
	ErrInteger      = errors.New("dagcbor: integer outside ±(2^53-1)")
)

// MaxInteger is the largest absolute value that every client can read: an integer
// beyond it makes JavaScript decoders throw (the data-model page).
const MaxInteger = 1<<53 - 1

// Reader walks Buf from Off. The zero value with Buf set is ready.
type Reader struct {
	Buf []byte
	Off int
	// DataModel asks for more than DAG-CBOR: CID and Skip also refuse links that
	// are not of the data model's form (ErrCID), and Skip refuses integers outside
	// ±MaxInteger (ErrInteger).
	DataModel bool
}

// Rest says how many bytes are left.
func (r *Reader) Rest() int { return len(r.Buf) - r.Off }

// Peek returns the next byte without consuming it, and false at the end.
func (r *Reader) Peek() (byte, bool) {
	if r.Off >= len(r.Buf) {
		return 0, false
	}
	return r.Buf[r.Off], true
}

// Head reads one head and returns its major type and argument. For MajorOther the
// argument is the simple value (20 false, 21 true, 22 null); floats are ErrFloat.
// A head that is longer than it need be, or indefinite, is ErrNotCanonical.
func (r *Reader) Head() (major byte, arg uint64, err error) {
	b := r.Buf[min(r.Off, len(r.Buf)):]
	if len(b) == 0 {
		return 0, 0, ErrTruncated
	}
	major, info := b[0]>>5, b[0]&31
	if major == MajorOther {
		return r.simple(info)
	}
	switch {
	case info < 24:
		r.Off++
		return major, uint64(info), nil
	case info == 24:
		if len(b) < 2 {
			return 0, 0, ErrTruncated
		}
		if arg = uint64(b[1]); arg < 24 {
			return 0, 0, ErrNotCanonical
		}
		r.Off += 2
	case info == 25:
		if len(b) < 3 {
			return 0, 0, ErrTruncated
		}
		if arg = uint64(binary.BigEndian.Uint16(b[1:])); arg <= 0xff {
			return 0, 0, ErrNotCanonical
		}
		r.Off += 3
	case info == 26:
		if len(b) < 5 {
			return 0, 0, ErrTruncated
		}
		if arg = uint64(binary.BigEndian.Uint32(b[1:])); arg <= 0xffff {
			return 0, 0, ErrNotCanonical
		}
		r.Off += 5
	case info == 27:
		if len(b) < 9 {
			return 0, 0, ErrTruncated
		}
		if arg = binary.BigEndian.Uint64(b[1:]); arg <= 0xffffffff {
			return 0, 0, ErrNotCanonical
		}
		r.Off += 9
	default: // 28..30 are reserved, 31 is indefinite
		if info == 31 {
			return 0, 0, indefinite(major)
		}
		return 0, 0, ErrMalformed
	}
	return major, arg, nil
}

// indefinite says what an indefinite length means: strings, arrays and maps may
// have one, integers and tags may not.
func indefinite(major byte) error {
	if major >= MajorBytes && major <= MajorMap {
		return ErrNotCanonical
	}
	return ErrMalformed
}

func (r *Reader) simple(info byte) (byte, uint64, error) {
	switch info {
	case 20, 21, 22:
		r.Off++
		return MajorOther, uint64(info), nil
	case 25, 26, 27:
		return 0, 0, ErrFloat
	case 28, 29, 30, 31: // 31 is a break, which ends nothing here
		return 0, 0, ErrMalformed
	}
	return 0, 0, ErrSimple
}

func (r *Reader) want(major byte) (uint64, error) {
	off := r.Off
	m, arg, err := r.Head()
	if err != nil {
		return 0, err
	}
	if m != major {
		r.Off = off
		return 0, ErrType
	}
	return arg, nil
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() (uint64, error) { return r.want(MajorUint) }

// Int reads an integer of either sign that fits in an int64.
func (r *Reader) Int() (int64, error) {
	off := r.Off
	m, arg, err := r.Head()
	if err != nil {
		return 0, err
	}
	if arg > 1<<63-1 || m > MajorNint {
		r.Off = off
		return 0, ErrType
	}
	if m == MajorNint {
		return -1 - int64(arg), nil
	}
	return int64(arg), nil
}

// Array reads an array head and returns its length, which is never more than the
// bytes that are left could hold.
func (r *Reader) Array() (int, error) { return r.length(MajorArray, 1) }

// Map reads a map head and returns how many pairs follow.
func (r *Reader) Map() (int, error) { return r.length(MajorMap, 2) }

func (r *Reader) length(major byte, least uint64) (int, error) {
	n, err := r.want(major)
	if err != nil {
		return 0, err
	}
	if n > uint64(r.Rest())/least {
		return 0, ErrTruncated
	}
	return int(n), nil
}

// Bytes reads a byte string, aliasing Buf.
func (r *Reader) Bytes() ([]byte, error) { return r.str(MajorBytes) }

// Text reads a UTF-8 text string, aliasing Buf.
func (r *Reader) Text() ([]byte, error) {
	b, err := r.str(MajorText)
	if err == nil && !validUTF8(b) {
		return nil, ErrUTF8
	}
	return b, err
}

// validUTF8 is utf8.Valid, faster for the short ASCII of which keys are made.
func validUTF8(b []byte) bool {
	if len(b) > 16 {
		return utf8.Valid(b)
	}
	var all byte
	for _, c := range b {
		all |= c
	}
	return all < utf8.RuneSelf || utf8.Valid(b)
}

func (r *Reader) str(major byte) ([]byte, error) {
	if b := r.Buf[min(r.Off, len(r.Buf)):]; len(b) > 0 && b[0]>>5 == major {
		// Most strings of an envelope are short: their head is one byte.
		if n := int(b[0]&31) + 1; n <= 24 && n <= len(b) {
			r.Off += n
			return b[1:n:n], nil
		}
	}
	n, err := r.want(major)
	if err != nil {
		return nil, err
	}
	if n > uint64(r.Rest()) {
		return nil, ErrTruncated
	}
	b := r.Buf[r.Off : r.Off+int(n) : r.Off+int(n)]
	r.Off += int(n)
	return b, nil
}

// Bool reads true or false.
func (r *Reader) Bool() (bool, error) {
	b, ok := r.Peek()
	if !ok {
		return false, ErrTruncated
	}
	if b != 0xf4 && b != 0xf5 {
		return false, ErrType
	}
	r.Off++
	return b == 0xf5, nil
}

// Null consumes a null when it is next and says whether it did.
func (r *Reader) Null() bool {
	if b, ok := r.Peek(); ok && b == 0xf6 {
		r.Off++
		return true
	}
	return false
}

// CID reads a link: tag 42 over a byte string whose first byte is 0x00 (the
// data-model page). It returns the binary CID without that byte, aliasing Buf. The
// CID's own form is checked only with DataModel set.
func (r *Reader) CID() ([]byte, error) {
	off := r.Off
	tag, err := r.want(MajorTag)
	if err != nil {
		return nil, err
	}
	if tag != 42 {
		r.Off = off
		return nil, ErrTag
	}
	b, err := r.Bytes()
	if err != nil {
		if errors.Is(err, ErrType) {
			return nil, ErrTag
		}
		return nil, err
	}
	if len(b) < 2 || b[0] != 0 {
		return nil, ErrTag
	}
	if r.DataModel && !ValidCID(b[1:]) {
		return nil, ErrCID
	}
	return b[1:], nil
}

// ValidCID says whether b is a binary CID of the only form that the data model
// blesses: version 1, dag-cbor (0x71) or raw (0x55), SHA-256 of 32 bytes.
func ValidCID(b []byte) bool {
	return len(b) == 36 && b[0] == 1 && (b[1] == 0x71 || b[1] == 0x55) && b[2] == 0x12 && b[3] == 32
}

// Pairs calls f at the value of each pair of the map that is next; f reads the value.
func (r *Reader) Pairs(f func(key []byte) error) error {
	n, err := r.Map()
	for ; n > 0 && err == nil; n-- {
		var key []byte
		if key, err = r.Text(); err == nil {
			err = f(key)
		}
	}
	return err
}

// KeyAfter reads a map key and checks that it sorts after prev (nil for the first
// key) in DAG-CBOR order: shorter first, then by bytes.
func (r *Reader) KeyAfter(prev []byte) ([]byte, error) {
	k, err := r.Text()
	if err != nil {
		if errors.Is(err, ErrType) {
			return nil, ErrKey
		}
		return nil, err
	}
	if prev == nil {
		return k, nil
	}
	switch c := CompareKeys(prev, k); {
	case c == 0:
		return nil, ErrDuplicateKey
	case c > 0:
		return nil, ErrNotCanonical
	}
	return k, nil
}

// CompareKeys orders map keys as DAG-CBOR does: by length, then by bytes.
func CompareKeys(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}
