package segmentlog

import (
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Archived is a sealed segment as the archive's catalog names it.
type Archived struct {
	Name          SegmentName
	Key           string // where the archive has it, for OpenArchived
	Size          int64  // bytes of the file
	FirstLeaf     uint64
	Count         uint64 // records
	LastWitnessed int64  // Unix µs
	Root          []byte // of the tree up to its last record
}

// ArchivedFile is an open segment of the archive. ReadAt's errors reach the reader of
// the log as they are. One that keeps what it read should be a Forgetter.
type ArchivedFile interface {
	io.ReaderAt
	io.Closer
}

// ArchivedError says that a segment could not be read from the archive.
type ArchivedError struct {
	Name SegmentName
	Err  error // a *CorruptError where its bytes are not what they should be
}

func (e *ArchivedError) Error() string {
	return fmt.Sprintf("segment %s of the archive: %v", e.Name, e.Err)
}
func (e *ArchivedError) Unwrap() error { return e.Err }

// archivedFile is a segment of the log that only the archive holds.
type archivedFile struct {
	Archived
	get func(Archived) (ArchivedFile, error)
}

func (a *archivedFile) firstSeq() uint64 { return a.Name.FirstSeq }
func (a *archivedFile) finalSeq() uint64 { return a.Name.LastSeq }
func (a *archivedFile) complete() bool   { return true }

func (a *archivedFile) open(_ vfs.FS, after uint64) (partReader, error) {
	f, seg, err := a.segment()
	if err != nil {
		return nil, err
	}
	return &sealedReader{f: f, seg: seg, after: after, block: seg.Footer().FindSeq(after)}, nil
}

func (a *archivedFile) chunks(_ vfs.FS, after, through uint64) ([]*Chunk, error) {
	f, seg, err := a.segment()
	if err != nil {
		return nil, err
	}
	return segmentChunks(f, seg, after, through), nil
}

// segment opens the segment, which must be what the catalog says; close the file.
func (a *archivedFile) segment() (ArchivedFile, *Segment, error) {
	f, err := a.get(a.Archived)
	if err != nil {
		return nil, nil, &ArchivedError{a.Name, err}
	}
	seg, err := OpenSegment(a.Name.String(), f, a.Size)
	if err == nil {
		err = a.describes(seg)
		if seg.forget(err, 0, a.Size) { // another object's bytes
			if err = seg.open(); err == nil {
				err = a.describes(seg)
			}
		}
	}
	if err != nil {
		_ = f.Close() // opened for reading
		return nil, nil, &ArchivedError{a.Name, err}
	}
	return f, seg, nil
}

// describes says whether a segment is the one that the catalog names.
func (a *archivedFile) describes(seg *Segment) error {
	ft := seg.Footer()
	if ft.Name == a.Name && ft.FirstLeaf == a.FirstLeaf && ft.Count == a.Count {
		return nil
	}
	return seg.corrupt(ft.wireEnd(), fmt.Errorf("%w: it says that the segment is %s with leaves %d+%d, the catalog %d+%d",
		errFooter, ft.Name, ft.FirstLeaf, ft.Count, a.FirstLeaf, a.Count))
}
