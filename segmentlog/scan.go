package segmentlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// scanned is what one pass over a hot file found.
type scanned struct {
	file *hotFile // end, lastSeq, count and seeks describe what is below the durable end
	size int64    // of the file

	// The readable records above the durable end: [file.end, tailEnd) holds
	// tailCount records (and marks) up to tailLast.
	tailEnd   int64
	tailCount uint64
	tailLast  uint64

	witnessed int64 // of the last readable record, Unix µs

	torn   bool // bytes above tailEnd that are no item
	header bool // the header could be read
}

// count is the number of readable records.
func (s *scanned) count() uint64 { return s.file.count.Load() + s.tailCount }

// last is the seq of the last readable record, 0 for none.
func (s *scanned) last() uint64 {
	if s.tailCount > 0 {
		return s.tailLast
	}
	return s.file.lastSeq.Load()
}

// scanHot reads the hot file at path and checks every item below its highest mark.
// Damage there is a CorruptError.
//
// limit is the first seq of the file after it, 0 for none: records from there on
// were copied into that file and are passed over. Without a limit and unless the
// last shutdown was clean, the highest mark itself is not trusted, since it may
// stand in the page cache alone: the mark below it is the durable end.
func scanHot(fs vfs.FS, path string, limit uint64, clean bool) (*scanned, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &scanner{path: path, f: f, size: st.Size(), limit: limit, trust: clean || limit > 0}
	return s.run()
}

// scanner walks a hot file twice at most: once over its items, and from the first
// bad item on over its bytes, looking for marks.
type scanner struct {
	path  string
	f     vfs.File
	size  int64
	mark  marker
	limit uint64 // first seq of the next file, 0 for none
	trust bool   // the highest mark is known to be on the disk

	marks []counted // where the walk met marks
}

// counted is how far the records had come when the walk reached the mark at off.
type counted struct {
	off     int64
	count   uint64
	lastSeq uint64
}

const (
	// headerWindow is how much is read to find the header item: room for what a later
	// version may add to it.
	headerWindow = 4 << 10
	// newbornSize bounds a file that cannot hold a record: header, first mark, and
	// less than a batch's mark with the shortest record.
	newbornSize = maxHeader + markSize
)

var (
	errOrder     = errors.New("sequence numbers do not increase")
	errFirst     = errors.New("the first record is not the one that the header names")
	errFirstMark = errors.New("the first mark does not fit the header")
)

func (s *scanner) run() (*scanned, error) {
	h, headerLen, err := s.header()
	switch {
	case isDiskError(err) || isGenuineVersion(err):
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	case err != nil && s.size <= newbornSize: // the crash came before the first batch
		return &scanned{file: &hotFile{path: s.path}, size: s.size, torn: true}, nil
	case err != nil:
		return nil, &CorruptError{File: s.path, Offset: 0, Err: err}
	}
	file := &hotFile{path: s.path, header: h, headerLen: headerLen}
	out := &scanned{file: file, size: s.size, header: true}
	bad, err := s.walk(file, out)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		mark, err := s.findMark(bad.Offset)
		if err != nil {
			return nil, err
		}
		if mark > bad.Offset {
			bad.Err = fmt.Errorf("%w (durable up to offset %d)", bad.Err, mark)
			return nil, bad
		}
		out.torn = true
	}
	s.settle(out)
	return out, nil
}

// header reads the header item and the first mark, whose CRC covers it.
func (s *scanner) header() (Header, int64, error) {
	b := make([]byte, min(s.size, headerWindow))
	if n, err := s.f.ReadAt(b, 0); n < len(b) {
		return Header{}, 0, &diskError{err}
	}
	h, n, err := decodeHotHeader(b)
	if errors.Is(err, ErrVersion) && markedHeader(b) {
		err = &versionError{err}
	}
	if err != nil {
		return h, 0, err
	}
	s.mark = newMarker(b[:n])
	if !s.mark.is(b[n:], int64(n)) {
		return h, 0, errFirstMark
	}
	return h, int64(n), nil
}

// versionError is an ErrVersion that is no rot: a mark covers the header.
type versionError struct{ err error }

func (e *versionError) Error() string { return e.err.Error() }
func (e *versionError) Unwrap() error { return e.err }

func isGenuineVersion(err error) bool {
	var v *versionError
	return errors.As(err, &v)
}

// markedHeader says whether b begins with any item and the mark that covers it.
func markedHeader(b []byte) bool {
	rd := dagcbor.Reader{Buf: b}
	if err := rd.Skip(); err != nil {
		return false
	}
	return newMarker(b[:rd.Off]).is(b[rd.Off:], int64(rd.Off))
}

// walk checks item after item. It returns the first bad one, nil when the file
// ends with a whole item; other errors are of the disk.
func (s *scanner) walk(file *hotFile, out *scanned) (*CorruptError, error) {
	it := itemReader{f: s.f, off: file.headerLen, end: s.size, mark: &s.mark}
	var rec Record
	last, count := uint64(0), uint64(0)
	for {
		at := it.off
		item, err := it.next(&rec)
		switch {
		case err == nil && item == itemMark:
			s.marks = append(s.marks, counted{at, count, last})
			continue
		case err == nil && s.limit > 0 && rec.Seq >= s.limit:
			err = io.EOF // the rest is in the next file
		case err == nil && count == 0 && rec.Seq != file.header.FirstSeq:
			err = fmt.Errorf("%w: %d, not %d", errFirst, rec.Seq, file.header.FirstSeq)
		case err == nil && rec.Seq <= last:
			err = fmt.Errorf("%w: %d after %d", errOrder, rec.Seq, last)
		case err == nil:
			file.note(rec.Seq, at)
			last, count, out.witnessed = rec.Seq, count+1, rec.Witnessed
			continue
		}
		if isDiskError(err) {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		out.tailEnd, out.tailCount, out.tailLast = at, count, last
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return &CorruptError{File: s.path, Offset: at, Err: err}, nil
	}
}

// settle divides what the walk counted into what is below the durable end, which
// is a mark, and the tail above it.
func (s *scanner) settle(out *scanned) {
	i := len(s.marks) - 1
	if !s.trust {
		i--
	}
	file := out.file
	if i < 1 { // the first mark stands in front of everything
		file.end.Store(file.headerLen + markSize)
		return
	}
	m := s.marks[i]
	file.end.Store(m.off)
	file.count.Store(m.count)
	file.lastSeq.Store(m.lastSeq)
	out.tailCount -= m.count
}

// findMark returns the offset of the last mark in the bytes from off on, 0 for none.
func (s *scanner) findMark(off int64) (last int64, err error) {
	const chunk = 1 << 20
	buf := make([]byte, min(chunk+markSize-1, s.size-off))
	for ; off < s.size; off += chunk {
		b := buf[:min(int64(len(buf)), s.size-off)]
		if n, err := s.f.ReadAt(b, off); n < len(b) {
			return 0, fmt.Errorf("read %s: %w", s.path, err)
		}
		for i := 0; ; i++ {
			j := bytes.Index(b[i:], markHead)
			if j < 0 {
				break
			}
			if i += j; s.mark.is(b[i:], off+int64(i)) {
				last = off + int64(i)
			}
		}
	}
	return last, nil
}
