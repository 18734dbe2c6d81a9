package netsim

import (
	"encoding/binary"
	"net"

	"github.com/gorilla/websocket"
)

// batchWriter turns a run of spooled frames into WebSocket messages with little
// work: the frames are read in one piece, and the head of each message is written over
// the frame's length in the spool, which is of the same four bytes for most.
type batchWriter struct {
	spool *spool
	buf   []byte
	heads []byte      // heads of ten bytes, which do not fit
	parts net.Buffers // what to write, in pieces of buf and heads
}

// maxFrameHead is the longest head that a message from a server has.
const maxFrameHead = 10

// spoolPrefix is how many bytes stand before a frame in the spool.
const spoolPrefix = 4

// fill prepares the messages of a batch; writing consumes them.
func (w *batchWriter) fill(batch []*entry) error {
	w.buf, w.heads, w.parts = w.buf[:0], w.heads[:0], w.parts[:0]
	for i := 0; i < len(batch); {
		end := i + 1
		for end < len(batch) && batch[end].off == batch[end-1].off+int64(batch[end-1].length)+spoolPrefix {
			end++
		}
		from := batch[i].off - spoolPrefix
		last := batch[end-1]
		var err error
		if w.buf, err = w.spool.appendTo(w.buf, from, int(last.off-from)+last.length); err != nil {
			return err
		}
		i = end
	}
	if need := maxFrameHead * len(batch); cap(w.heads) < need { // it must not move while parts point into it
		w.heads = make([]byte, 0, need)
	}
	w.cut(batch)
	return nil
}

// cut writes the heads and cuts buf where a head is not of four bytes.
func (w *batchWriter) cut(batch []*entry) {
	from, at := 0, 0
	for _, e := range batch {
		opcode := websocket.BinaryMessage
		if e.text {
			opcode = websocket.TextMessage
		}
		n := len(w.heads)
		w.heads = appendFrameHead(w.heads, opcode, e.length)
		switch head := w.heads[n:]; len(head) {
		case spoolPrefix:
			copy(w.buf[at:], head)
			w.heads = w.heads[:n]
		default:
			w.add(w.buf[from:at])
			w.add(head)
			from = at + spoolPrefix
		}
		at += spoolPrefix + e.length
	}
	w.add(w.buf[from:at])
}

func (w *batchWriter) add(b []byte) {
	if len(b) > 0 {
		w.parts = append(w.parts, b)
	}
}

// wholeOf returns the entries whose messages lie within the first n bytes of a batch.
func wholeOf(batch []*entry, n int64) []*entry {
	var head [maxFrameHead]byte
	for i, e := range batch {
		if n -= int64(len(appendFrameHead(head[:0], websocket.BinaryMessage, e.length)) + e.length); n < 0 {
			return batch[:i]
		}
	}
	return batch
}

// appendFrameHead appends the head of a whole, unmasked WebSocket message (RFC 6455,
// section 5.2).
func appendFrameHead(dst []byte, opcode, length int) []byte {
	dst = append(dst, 0x80|byte(opcode))
	switch {
	case length < 126:
		return append(dst, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
}

// appendFrame appends a whole message.
func appendFrame(dst []byte, opcode int, payload []byte) []byte {
	return append(appendFrameHead(dst, opcode, len(payload)), payload...)
}
