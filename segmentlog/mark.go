package segmentlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A mark is a two-element array of a fixed 16 bytes:
//
//	98 02          array of two, in the long form (no record or header begins so)
//	1b <8 bytes>   offset known durable before this write, big-endian
//	1a <4 bytes>   CRC-32C of the file's header item and the 11 bytes above
//
// The CRC covers the header, and with it the file's random salt: a scan finds
// marks past a bad item, no upstream can forge one, and a change to the header
// spoils every mark. The widths are part of the format, do not change them.
const markSize = 16

var markHead = []byte{0x98, 0x02, 0x1b}

// marker makes and checks the marks of one hot file.
type marker struct {
	headerCRC uint32 // CRC-32C of the header item
}

func newMarker(header []byte) marker {
	return marker{headerCRC: crc32.Checksum(header, castagnoli)}
}

// put writes a mark into the first 16 bytes of dst.
func (m marker) put(dst []byte, durable int64) {
	copy(dst, markHead)
	binary.BigEndian.PutUint64(dst[3:], uint64(durable))
	dst[11] = 0x1a
	binary.BigEndian.PutUint32(dst[12:], crc32.Update(m.headerCRC, castagnoli, dst[:11]))
}

// get reads the mark at the start of b, which stands at offset at of the file.
func (m marker) get(b []byte, at int64) (durable int64, ok bool) {
	if len(b) < markSize || !bytes.HasPrefix(b, markHead) || b[11] != 0x1a {
		return 0, false
	}
	if crc32.Update(m.headerCRC, castagnoli, b[:11]) != binary.BigEndian.Uint32(b[12:]) {
		return 0, false
	}
	d := binary.BigEndian.Uint64(b[3:])
	if d > uint64(at) {
		return 0, false
	}
	return int64(d), true
}
