package segmentlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// tailGuess is how much of a segment's end is read at first, in bytes: enough for
// the footer of a segment of 256 MiB.
const tailGuess = 64 << 10

// Segment is an open sealed segment, read through an io.ReaderAt: a local file, or
// an object by ranges. Its methods may be called from any goroutine.
type Segment struct {
	name   string
	r      io.ReaderAt
	size   int64
	footer *Footer
}

var errBlockSum = errors.New("block does not match its SHA-256")

// OpenSegment reads and checks the footer and the seek table of a segment of size
// bytes. name stands in errors. A *CorruptError says that the bytes are not a
// segment, other errors are r's. An r that is a Forgetter is asked twice before bytes are
// bad, here and by every method.
func OpenSegment(name string, r io.ReaderAt, size int64) (*Segment, error) {
	s := &Segment{name: name, r: r, size: size}
	err := s.open()
	if s.forget(err, 0, size) { // all: how long the footer is cannot be trusted
		err = s.open()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open reads and checks footer and seek table.
func (s *Segment) open() error {
	tail, err := s.readTail(min(s.size, tailGuess))
	if err != nil {
		return err
	}
	table, footer, err := tailSizes(tail)
	if err != nil {
		return s.corrupt(s.size-int64(len(tail)), err)
	}
	if table+footer > s.size {
		return s.corrupt(0, fmt.Errorf("%w: longer than the file", errSeekTable))
	}
	if table+footer > int64(len(tail)) {
		if tail, err = s.readTail(table + footer); err != nil {
			return err
		}
	}
	at := s.size - table - footer
	if s.footer, err = decodeTail(tail[int64(len(tail))-table-footer:], footer); err != nil {
		return s.corrupt(at, err)
	}
	if s.footer.wireEnd() != at {
		return s.corrupt(at, fmt.Errorf("%w: blocks end at offset %d", errFooter, s.footer.wireEnd()))
	}
	return nil
}

func (s *Segment) corrupt(off int64, err error) error {
	return &CorruptError{File: s.name, Offset: off, Err: err}
}

// readTail reads the last n bytes.
func (s *Segment) readTail(n int64) ([]byte, error) {
	b := make([]byte, n)
	return b, s.readAt(b, s.size-n)
}

func (s *Segment) readAt(b []byte, off int64) error {
	if n, err := s.r.ReadAt(b, off); n < len(b) {
		if errors.Is(err, io.EOF) || err == nil {
			return s.corrupt(off, fmt.Errorf("the file ends after %d bytes: %w", off+int64(n), io.ErrUnexpectedEOF))
		}
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	return nil
}

// Footer returns what the segment says of itself; do not change it.
func (s *Segment) Footer() *Footer { return s.footer }

// Name returns the name that the segment was opened under.
func (s *Segment) Name() string { return s.name }

// Size returns the length of the file in bytes.
func (s *Segment) Size() int64 { return s.size }

// FindSeq returns the block that holds the first record with a seq above after,
// len(Blocks) when there is none.
func (f *Footer) FindSeq(after uint64) int {
	return sort.Search(len(f.Blocks), func(i int) bool { return f.Blocks[i].LastSeq > after })
}

// FindTime returns the block that holds the first record witnessed at or after t
// (Unix µs), len(Blocks) when there is none.
func (f *Footer) FindTime(t int64) int {
	return sort.Search(len(f.Blocks), func(i int) bool { return f.Blocks[i].LastWitnessed >= t })
}

// BlockBuffer is memory that ReadBlock uses again. The zero value is ready.
type BlockBuffer struct {
	wire []byte
	raw  []byte
	// unsummed leaves out the SHA-256 of a block, whose records and zstd frame have checksums
	// of their own (docs/decisions/0011-replay.md).
	unsummed bool
}

// decoders decode whole frames without keeping state between them; the limit
// stands above MaxBlock, and each call is bounded by the length that was checked.
var decoders = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(2*MaxBlock), zstd.WithDecodeAllCapLimit(true))
})

// ReadBlock reads block i, checks its SHA-256 and decodes it. The result lives in
// buf until its next use.
func (s *Segment) ReadBlock(i int, buf *BlockBuffer) ([]byte, error) {
	return s.readSpan(&s.footer.Blocks[i].Span, buf)
}

func (s *Segment) readSpan(sp *Span, buf *BlockBuffer) ([]byte, error) {
	raw, err := s.decodeSpan(sp, buf)
	if s.forget(err, sp.Offset, sp.Wire) {
		raw, err = s.decodeSpan(sp, buf)
	}
	return raw, err
}

// decodeSpan reads, checks and decodes a frame.
func (s *Segment) decodeSpan(sp *Span, buf *BlockBuffer) ([]byte, error) {
	dec, err := decoders()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	buf.wire = slices.Grow(buf.wire[:0], int(sp.Wire))
	wire := buf.wire[:sp.Wire]
	if err := s.readAt(wire, sp.Offset); err != nil {
		return nil, err
	}
	if !buf.unsummed && sha256.Sum256(wire) != sp.SHA256 {
		return nil, s.corrupt(sp.Offset, errBlockSum)
	}
	if err := checkFrame(wire, sp.Raw); err != nil {
		return nil, s.corrupt(sp.Offset, fmt.Errorf("block: %w", err))
	}
	buf.raw = slices.Grow(buf.raw[:0], int(sp.Raw))
	raw, err := dec.DecodeAll(wire, buf.raw[:0:sp.Raw]) // in place: no frame may grow beyond its size
	if err != nil {
		return nil, s.corrupt(sp.Offset, fmt.Errorf("block: %w", err))
	}
	if int64(len(raw)) != sp.Raw {
		return nil, s.corrupt(sp.Offset, fmt.Errorf("block decodes to %d bytes, the footer says %d", len(raw), sp.Raw))
	}
	return raw, nil
}

// CheckHeader reads the header frame and compares it with the footer.
func (s *Segment) CheckHeader() error {
	raw, err := s.readSpan(&s.footer.Header, &BlockBuffer{})
	if err != nil {
		return err
	}
	f := s.footer
	want := Header{Stream: f.Stream, Epoch: f.Name.Epoch, FirstSeq: f.Name.FirstSeq, FirstLeaf: f.FirstLeaf}
	if string(want.appendSegment(nil)) != string(raw) {
		return s.corrupt(0, errors.New("the header is not what the footer says"))
	}
	return nil
}

// Records iterates the records with a seq above after, in order. The record is
// the same one each time and aliases a buffer: copy what must live longer. An
// error ends the iteration.
func (s *Segment) Records(after uint64) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		var buf BlockBuffer
		for i := s.footer.FindSeq(after); i < len(s.footer.Blocks); i++ {
			more, err := s.each(i, &buf, func(rec *Record) bool { return rec.Seq <= after || yield(rec, nil) })
			if err != nil {
				yield(nil, err)
			}
			if !more {
				return
			}
		}
	}
}

// each calls f with the records of block i, in order, until it returns false; more
// says that it did not, and that there was no error.
func (s *Segment) each(i int, buf *BlockBuffer, f func(*Record) bool) (more bool, err error) {
	raw, err := s.ReadBlock(i, buf)
	if err != nil {
		return false, err
	}
	var rec Record
	b := blockRecords{s: s, block: i, raw: raw}
	for {
		if err := b.next(&rec); errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if !f(&rec) {
			return false, nil
		}
	}
}
