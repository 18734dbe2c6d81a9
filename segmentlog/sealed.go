package segmentlog

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sealedFile is a sealed segment of the log on the local disk.
type sealedFile struct {
	path string
	name SegmentName
	size int64
	born int64                          // Unix µs of its first record
	sum  atomic.Pointer[[HashSize]byte] // SHA-256 of the file as it was written, where this process wrote it

	archived atomic.Pointer[Archived] // set once the archive holds it too
}

func (s *sealedFile) firstSeq() uint64 { return s.name.FirstSeq }
func (s *sealedFile) finalSeq() uint64 { return s.name.LastSeq }
func (s *sealedFile) complete() bool   { return true }

func (s *sealedFile) open(fs vfs.FS, after uint64) (partReader, error) {
	f, seg, err := s.segment(fs)
	if err != nil {
		return nil, err
	}
	return &sealedReader{f: f, seg: seg, after: after, block: seg.Footer().FindSeq(after)}, nil
}

// segment opens the file, which must be the segment that its name says; close the
// file.
func (s *sealedFile) segment(fs vfs.FS) (vfs.File, *Segment, error) {
	f, seg, err := openSealed(fs, s.path)
	if err != nil {
		return nil, nil, err
	}
	if n := seg.Footer().Name; n != s.name {
		_ = f.Close() // opened for reading
		return nil, nil, seg.corrupt(seg.Footer().wireEnd(), fmt.Errorf("%w: it says that the segment is %s", errFooter, n))
	}
	return f, seg, nil
}

// openSealed opens a local segment; close the file.
func openSealed(fs vfs.FS, path string) (vfs.File, *Segment, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var seg *Segment
		if seg, err = OpenSegment(path, f, st.Size()); err == nil {
			return f, seg, nil
		}
	}
	_ = f.Close() // opened for reading
	return nil, nil, fmt.Errorf("open segment: %w", err)
}

// sealedReader walks a segment block by block.
type sealedReader struct {
	f     ArchivedFile
	seg   *Segment
	after uint64
	block int // the next to decode

	buf BlockBuffer
	cur blockRecords
}

func (r *sealedReader) next(rec *Record) error {
	for {
		if r.cur.s == nil {
			if r.block == len(r.seg.Footer().Blocks) {
				return io.EOF
			}
			raw, err := r.seg.ReadBlock(r.block, &r.buf)
			if err != nil {
				return err
			}
			r.cur = blockRecords{s: r.seg, block: r.block, raw: raw}
			r.block++
		}
		switch err := r.cur.next(rec); {
		case errors.Is(err, io.EOF):
			r.cur = blockRecords{}
		case err != nil:
			return err
		case rec.Seq > r.after:
			return nil
		}
	}
}

func (r *sealedReader) close() error { return r.f.Close() }
