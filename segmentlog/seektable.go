package segmentlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The frames at the end of a segment. The seek table is that of the zstd seekable
// format 0.1.0; the footer stands in a skippable frame before it.
const (
	skippableHead = 8 // magic and length, little-endian
	footerMagic   = 0x184D2A50
	seekMagic     = 0x184D2A5E
	seekEnd       = 0x8F92EAB1
	seekEndSize   = 9 // number of frames, descriptor, magic
	seekEntry     = 8 // encoded and decoded length; no checksums
)

var errSeekTable = errors.New("seek table")

// appendTail appends the footer frame and the seek table.
func appendTail(dst []byte, f *Footer) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, skippableHead)...)
	dst = f.append(dst)
	putSkippable(dst[start:], footerMagic)
	return appendSeekTable(dst, f, len(dst)-start)
}

// appendSeekTable appends the table of all frames: header, blocks, and the footer
// frame of footerWire bytes, which decodes to nothing.
func appendSeekTable(dst []byte, f *Footer, footerWire int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, skippableHead)...)
	entry := func(wire, raw int64) {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(wire))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(raw))
	}
	entry(f.Header.Wire, f.Header.Raw)
	for i := range f.Blocks {
		entry(f.Blocks[i].Wire, f.Blocks[i].Raw)
	}
	entry(int64(footerWire), 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Blocks)+2))
	dst = append(dst, 0) // descriptor: no checksums, reserved bits 0
	dst = binary.LittleEndian.AppendUint32(dst, seekEnd)
	putSkippable(dst[start:], seekMagic)
	return dst
}

func putSkippable(b []byte, magic uint32) {
	binary.LittleEndian.PutUint32(b, magic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-skippableHead))
}

// tailSizes reads the last bytes of a segment: how long its seek table is, and,
// when b reaches back that far, how long the footer frame before it.
func tailSizes(b []byte) (table, footer int64, err error) {
	if len(b) < seekEndSize {
		return 0, 0, fmt.Errorf("%w: the file is too short", errSeekTable)
	}
	end := b[len(b)-seekEndSize:]
	if binary.LittleEndian.Uint32(end[5:]) != seekEnd || end[4] != 0 {
		return 0, 0, fmt.Errorf("%w: the file does not end with one", errSeekTable)
	}
	frames := int64(binary.LittleEndian.Uint32(end))
	if frames < 3 || frames > maxFooter/seekEntry {
		return 0, 0, fmt.Errorf("%w: %d frames", errSeekTable, frames)
	}
	table = skippableHead + frames*seekEntry + seekEndSize
	if last := int64(seekEndSize + seekEntry); int64(len(b)) >= last {
		footer = int64(binary.LittleEndian.Uint32(b[int64(len(b))-last:]))
		if footer <= skippableHead || footer > maxFooter {
			return 0, 0, fmt.Errorf("%w: footer of %d bytes", errSeekTable, footer)
		}
	}
	return table, footer, nil
}

// decodeTail reads the footer frame and the seek table, which tail begins with,
// and checks that the table is what the footer says, byte for byte.
func decodeTail(tail []byte, footerWire int64) (*Footer, error) {
	frame := tail[:footerWire]
	if binary.LittleEndian.Uint32(frame) != footerMagic || int64(binary.LittleEndian.Uint32(frame[4:])) != footerWire-skippableHead {
		return nil, fmt.Errorf("%w: not in a skippable frame of its own", errFooter)
	}
	f, err := decodeFooter(frame[skippableHead:])
	if err != nil {
		return nil, err
	}
	if want := appendSeekTable(nil, f, len(frame)); string(want) != string(tail[footerWire:]) {
		return nil, fmt.Errorf("%w: it does not say what the footer says", errSeekTable)
	}
	return f, nil
}
