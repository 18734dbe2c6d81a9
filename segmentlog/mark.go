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
// The first mark names 0; every other names the offset at which it stands, since
// a write begins only when everything before it is synced.
//
// The CRC covers the header, and with it the file's random salt: a scan finds
// marks past a bad item, no upstream can forge one (it would have to guess salt
// and offset), and a change to the header spoils every mark. The widths are part
// of the format, do not change them.
const markSize = 16

var markHead = []byte{0x98, 0x02, 0x1b}

// marker makes and checks the marks of one hot file.
type marker struct {
	headerCRC uint32 // CRC-32C of the header item
	headerLen int64  // where the first mark stands
}

func newMarker(header []byte) marker {
	return marker{headerCRC: crc32.Checksum(header, castagnoli), headerLen: int64(len(header))}
}

// names is what the mark at offset at says.
func (m marker) names(at int64) int64 {
	if at == m.headerLen {
		return 0
	}
	return at
}

// put writes the mark for offset at into the first 16 bytes of dst.
func (m marker) put(dst []byte, at int64) {
	copy(dst, markHead)
	binary.BigEndian.PutUint64(dst[3:], uint64(m.names(at)))
	dst[11] = 0x1a
	binary.BigEndian.PutUint32(dst[12:], crc32.Update(m.headerCRC, castagnoli, dst[:11]))
}

// is says whether b begins with the mark for offset at.
func (m marker) is(b []byte, at int64) bool {
	return len(b) >= markSize && bytes.HasPrefix(b, markHead) && b[11] == 0x1a &&
		int64(binary.BigEndian.Uint64(b[3:])) == m.names(at) &&
		crc32.Update(m.headerCRC, castagnoli, b[:11]) == binary.BigEndian.Uint32(b[12:])
}
