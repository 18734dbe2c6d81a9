package segmentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// How much of a hot file is read at once, in bytes: as much as there is between
// these.
const (
	readChunk = 1 << 20
	readLeast = 16 << 10
)

type itemKind uint8

const (
	itemMark itemKind = iota + 1
	itemRecord
)

// itemReader reads the items of a hot file between off and end through one
// reused buffer. Records alias the buffer until the next call.
type itemReader struct {
	f    io.ReaderAt
	off  int64 // of the next item
	end  int64 // exclusive; may be raised between calls
	mark *marker

	buf  []byte // holds [base, base+len(buf)) of the file
	base int64
}

// next decodes the item at off and moves past it. io.EOF: off is end. A
// *diskError is of the disk; any other error is of the bytes, and off stays.
func (it *itemReader) next(rec *Record) (itemKind, error) {
	if it.off >= it.end {
		return 0, io.EOF
	}
	for need := int64(markSize); ; need = 2 * int64(len(it.window())) {
		if err := it.fill(need); err != nil {
			return 0, err
		}
		kind, err := it.decode(rec)
		if err == nil || !errors.Is(err, dagcbor.ErrTruncated) || it.base+int64(len(it.buf)) >= it.end {
			return kind, itemError(err)
		}
	}
}

// window is the buffered part of the file from off on.
func (it *itemReader) window() []byte {
	if it.off < it.base || it.off > it.base+int64(len(it.buf)) {
		return nil
	}
	return it.buf[it.off-it.base:]
}

// fill sees to it that need bytes from off on (or all up to end) are buffered.
func (it *itemReader) fill(need int64) error {
	need = min(need, it.end-it.off)
	have := it.window()
	if int64(len(have)) >= need {
		return nil
	}
	want := min(max(need, readChunk), it.end-it.off)
	buf := it.buf[:0]
	if int64(cap(buf)) < want {
		buf = make([]byte, 0, max(want, readLeast))
	}
	buf = append(buf, have...) // overlapping copies to the front are fine
	n, err := it.f.ReadAt(buf[len(have):want], it.off+int64(len(have)))
	if int64(len(have)+n) < want {
		it.buf = it.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			return errShrunk
		}
		return &diskError{err}
	}
	it.buf, it.base = buf[:want], it.off
	return nil
}

func (it *itemReader) decode(rec *Record) (itemKind, error) {
	b := it.window()
	switch b[0] {
	case markHead[0]:
		if !it.mark.is(b, it.off) {
			return 0, errNotItem
		}
		it.off += markSize
		return itemMark, nil
	case recordHead:
		n, err := DecodeRecord(b, rec)
		if err != nil {
			return 0, err
		}
		it.off += int64(n)
		return itemRecord, nil
	}
	return 0, errNotItem
}

// Errors of what stands in a file; disk errors are a *diskError.
var (
	errNotItem = errors.New("neither a mark nor a record")
	errShrunk  = errors.New("the file has become shorter than what was durable in it")
)

// diskError tells errors of reading from errors of what was read.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

func isDiskError(err error) bool {
	var d *diskError
	return errors.As(err, &d)
}

func itemError(err error) error {
	if errors.Is(err, dagcbor.ErrTruncated) {
		return fmt.Errorf("the file ends within a record: %w", err)
	}
	return err
}

// raw is the bytes of the item that begins at at and was read last.
func (it *itemReader) raw(at int64) []byte {
	return it.buf[at-it.base : it.off-it.base]
}

// hotRecords walks the records of a hot file and passes over its marks.
type hotRecords struct {
	path string
	mark marker
	it   itemReader
	at   int64 // where the record that next returned begins
}

// records walks h, open as f, from off, where an item begins, to end.
func (h *hotFile) records(f io.ReaderAt, off, end int64) *hotRecords {
	r := &hotRecords{path: h.path, mark: newMarker(h.header.encode())}
	r.it = itemReader{f: f, off: off, end: end, mark: &r.mark}
	return r
}

// next decodes the next record, whose slices live until the next call. io.EOF: the
// end is reached. Bytes that are no item are a *CorruptError.
func (r *hotRecords) next(rec *Record) error {
	for {
		r.at = r.it.off
		kind, err := r.it.next(rec)
		switch {
		case err == nil && kind == itemRecord:
			return nil
		case err == nil: // a mark
		case errors.Is(err, io.EOF):
			return io.EOF
		case isDiskError(err):
			return fmt.Errorf("read %s: %w", r.path, err)
		default:
			return r.corrupt(err)
		}
	}
}

// raw is the encoding of the record that next returned.
func (r *hotRecords) raw() []byte { return r.it.raw(r.at) }

// corrupt says that the item at r.at is wrong.
func (r *hotRecords) corrupt(err error) error {
	return &CorruptError{File: r.path, Offset: r.at, Err: err}
}
