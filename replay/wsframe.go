package replay

import "encoding/binary"

// Opcodes of RFC 6455, section 5.2.
const (
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// maxFrameHead is the longest header of a server's frame, which is not masked.
const maxFrameHead = 10

// appendFrame appends one unfragmented WebSocket frame as a server sends it.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// appendClose appends a close frame with a status code and a reason of at most
// 123 bytes (RFC 6455, section 5.5).
func appendClose(dst []byte, code uint16, reason string) []byte {
	p := binary.BigEndian.AppendUint16(nil, code)
	return appendFrame(dst, opClose, append(p, reason[:min(len(reason), 123)]...))
}

// payload is what is behind the header of a frame that appendFrame made.
func payload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4:]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}
