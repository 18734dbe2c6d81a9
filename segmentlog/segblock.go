package segmentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// RecordError says which record of a sealed segment is wrong. It stands in a
// CorruptError whose offset is that of the block.
type RecordError struct {
	Block int
	Index uint64 // of the record in its block, from 0
	At    int64  // where it begins in the decoded block, in bytes
	Seq   uint64 // 0 when the record cannot be read
	After uint64 // seq of the record before it in the block, 0 for none
	Err   error
}

func (e *RecordError) Error() string {
	seq := fmt.Sprintf("seq %d", e.Seq)
	if e.Seq == 0 {
		seq = fmt.Sprintf("after seq %d", e.After)
	}
	return fmt.Sprintf("record %d of block %d (%s, at byte %d of the decoded block): %v", e.Index, e.Block, seq, e.At, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// blockRecords walks the records of a decoded block and checks each against the
// footer.
type blockRecords struct {
	s     *Segment
	block int
	raw   []byte
	off   int
	count uint64

	last      uint64 // seq of the newest record
	witnessed int64  // of the same
}

// next decodes the next record into rec; io.EOF at the end of a whole block.
func (b *blockRecords) next(rec *Record) error {
	meta := &b.s.footer.Blocks[b.block]
	if b.off == len(b.raw) {
		if b.count != meta.Count || b.last != meta.LastSeq || b.witnessed != meta.LastWitnessed {
			return b.s.corrupt(meta.Offset, fmt.Errorf("block holds %d records up to seq %d, witnessed at %d, the footer says %d up to %d at %d",
				b.count, b.last, b.witnessed, meta.Count, meta.LastSeq, meta.LastWitnessed))
		}
		return io.EOF
	}
	n, err := DecodeRecord(b.raw[b.off:], rec)
	if err != nil {
		return b.wrong(0, err)
	}
	switch {
	case b.count == 0 && (rec.Seq != meta.FirstSeq || rec.Witnessed != meta.FirstWitnessed):
		err = fmt.Errorf("block begins with seq %d, witnessed at %d, the footer says %d at %d",
			rec.Seq, rec.Witnessed, meta.FirstSeq, meta.FirstWitnessed)
	case b.count > 0 && rec.Seq <= b.last:
		err = fmt.Errorf("%w: %d after %d", errOrder, rec.Seq, b.last)
	case rec.Witnessed < b.witnessed:
		err = fmt.Errorf("witnessed at %d, the record before it at %d", rec.Witnessed, b.witnessed)
	}
	if err != nil {
		return b.wrong(rec.Seq, err)
	}
	b.off += n
	b.last, b.witnessed = rec.Seq, rec.Witnessed
	b.count++
	return nil
}

// wrong is the error of the record at off.
func (b *blockRecords) wrong(seq uint64, err error) error {
	return b.s.corrupt(b.s.footer.Blocks[b.block].Offset,
		&RecordError{Block: b.block, Index: b.count, At: int64(b.off), Seq: seq, After: b.last, Err: err})
}

// Parts of a zstd frame (RFC 8878, section 3.1.1).
const (
	zstdBlockHead = 3 // bytes: last block (1 bit), type (2), size (21), little-endian
	zstdBlockRLE  = 1
	zstdChecksum  = 4
)

var errFrame = errors.New("not one zstd frame with content size and checksum")

// checkFrame says whether wire is exactly one zstd frame with content size and
// checksum, so that every decoder, whether it goes on after a frame or not, makes
// the same of it.
func checkFrame(wire []byte, raw int64) error {
	var h zstd.Header
	if err := h.Decode(wire); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	if h.Skippable || !h.HasFCS || !h.HasCheckSum || h.DictionaryID != 0 || h.FrameContentSize != uint64(raw) {
		return fmt.Errorf("%w of %d bytes", errFrame, raw)
	}
	for off := h.HeaderSize; ; {
		if len(wire)-off < zstdBlockHead {
			return fmt.Errorf("%w: it ends early", errFrame)
		}
		head := int(wire[off]) | int(wire[off+1])<<8 | int(wire[off+2])<<16
		size := head >> 3
		if head>>1&3 == zstdBlockRLE {
			size = 1
		}
		off += zstdBlockHead + size
		if head&1 != 0 {
			if len(wire)-off != zstdChecksum {
				return fmt.Errorf("%w: %d bytes behind its last block", errFrame, len(wire)-off)
			}
			return nil
		}
	}
}
