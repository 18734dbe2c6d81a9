package segmentlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cistern-archive/cistern/internal/dagcbor"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// scanned is what one pass over a hot file found.
type scanned struct {
	file *hotFile // end, lastSeq, count and seeks describe what is below the highest mark
	size int64    // of the file

	// The readable records above the highest mark: [file.end, tailEnd) holds
	// tailCount records (and marks) up to tailLast.
	tailEnd   int64
	tailCount uint64
	tailLast  uint64

	witnessed int64 // of the last readable record, Unix µs

	torn bool // bytes above tailEnd that are no item
	// newborn: the crash came before the first batch, nothing can be in the file.
	newborn bool
}

var errOrder = errors.New("sequence numbers do not increase")

// scanHot reads the hot file at path and checks every item below its highest mark.
// Damage there is a CorruptError.
//
// limit is the first seq of the file after it, 0 for none: records from there on
// were copied into that file and are passed over. Without a limit and unless the
// file is known to be clean, the highest mark itself is not trusted, since it may
// stand in the page cache alone: what the mark before it names is the durable end.
func scanHot(fs vfs.FS, path string, limit uint64, clean bool) (*scanned, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
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

	highest int64     // the highest durable offset that any mark names
	marks   []counted // the walk at each mark, to find what is below one
}

// counted is how far the records had come when the walk reached the mark at off,
// which names durable.
type counted struct {
	off     int64
	durable int64
	count   uint64
	lastSeq uint64
}

// newbornSize bounds a file that cannot hold a record: header, first mark, and
// less than a batch's mark with the shortest record.
const newbornSize = maxHeader + markSize

func (s *scanner) run() (*scanned, error) {
	h, headerLen, err := s.header()
	if err != nil {
		if s.size <= newbornSize {
			return &scanned{file: &hotFile{path: s.path}, size: s.size, newborn: true, torn: true}, nil
		}
		return nil, &CorruptError{File: s.path, Offset: 0, Err: err}
	}
	file := &hotFile{path: s.path, header: h, headerLen: headerLen}
	out := &scanned{file: file, size: s.size}
	bad, err := s.walk(file, out)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		if err := s.findMarks(bad.Offset); err != nil {
			return nil, err
		}
		if bad.Offset < s.highest {
			bad.Err = fmt.Errorf("%w (durable up to offset %d)", bad.Err, s.highest)
			return nil, bad
		}
		out.torn = true
	}
	s.settle(out)
	out.newborn = out.tailCount == 0 && file.count.Load() == 0
	return out, nil
}

// header reads the header item and the first mark, whose CRC covers it.
func (s *scanner) header() (Header, int64, error) {
	b := make([]byte, min(s.size, maxHeader+markSize))
	if _, err := s.f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return Header{}, 0, err
	}
	h, n, err := decodeHotHeader(b)
	if err != nil {
		return h, 0, err
	}
	s.mark = newMarker(b[:n])
	if _, ok := s.mark.get(b[n:], int64(n)); !ok {
		return h, 0, errors.New("the first mark does not fit the header")
	}
	return h, int64(n), nil
}

// walk checks item after item. It returns the first bad one, nil when the file
// ends with a whole item; other errors are of the disk.
func (s *scanner) walk(file *hotFile, out *scanned) (*CorruptError, error) {
	it := itemReader{f: s.f, off: file.headerLen, end: s.size, mark: &s.mark}
	var rec Record
	last, count := file.header.FirstSeq-1, uint64(0)
	for {
		at := it.off
		item, err := it.next(&rec)
		switch {
		case errors.Is(err, io.EOF):
			out.tailEnd, out.tailCount, out.tailLast = at, count, last
			return nil, nil
		case err == nil && item == itemMark:
			s.highest = max(s.highest, it.durable)
			s.marks = append(s.marks, counted{at, it.durable, count, last})
			continue
		case err == nil && s.limit > 0 && rec.Seq >= s.limit:
			out.tailEnd, out.tailCount, out.tailLast = at, count, last
			return nil, nil
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
		return &CorruptError{File: s.path, Offset: at, Err: err}, nil
	}
}

// settle divides what the walk counted into what is below the durable end and
// the tail above it.
func (s *scanner) settle(out *scanned) {
	file := out.file
	end := max(s.durable(), file.headerLen+markSize)
	var at counted
	for _, m := range s.marks { // a mark stands where a mark says that the durable part ended
		if m.off <= end {
			at = m
		}
	}
	if out.tailEnd <= end { // bytes that a full disk refused stood there
		at = counted{count: out.tailCount, lastSeq: out.tailLast}
	}
	file.end.Store(end)
	file.count.Store(at.count)
	if at.count > 0 {
		file.lastSeq.Store(at.lastSeq)
	}
	out.tailCount -= at.count
}

// durable is the offset up to which the file is on the disk for certain.
func (s *scanner) durable() int64 {
	if s.trust {
		return s.highest
	}
	var d int64
	for _, m := range s.marks {
		if m.off < s.highest {
			d = max(d, m.durable)
		}
	}
	return d
}

// findMarks looks for marks at any byte from off on and raises s.highest.
func (s *scanner) findMarks(off int64) error {
	const chunk = 1 << 20
	buf := make([]byte, chunk+markSize)
	for ; off < s.size; off += chunk {
		n, err := s.f.ReadAt(buf[:min(int64(len(buf)), s.size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", s.path, err)
		}
		b := buf[:n]
		for i := 0; ; i++ {
			j := bytes.Index(b[i:], markHead)
			if j < 0 {
				break
			}
			i += j
			if d, ok := s.mark.get(b[i:], off+int64(i)); ok {
				s.highest = max(s.highest, d)
			}
		}
	}
	return nil
}

// isDiskError tells errors of reading from errors of what was read.
func isDiskError(err error) bool {
	var d *diskError
	return errors.As(err, &d)
}

type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

var errNotItem = errors.New("neither a mark nor a record")

func itemError(err error) error {
	if errors.Is(err, dagcbor.ErrTruncated) {
		return fmt.Errorf("the file ends within a record: %w", err)
	}
	return err
}
