package segmentlog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrNotArchived means that the archive is not known to hold a segment, which therefore stays.
var ErrNotArchived = errors.New("the archive is not known to hold it")

// SealedFile is a sealed segment of the log in the data directory.
type SealedFile struct {
	Name           SegmentName
	Path           string
	Size           int64 // bytes
	FirstWitnessed int64 // Unix µs
	Archived       bool  // the archive holds it too
	log            *Log
	file           *sealedFile
}

// Sealed returns the local sealed segments with a seq above after, in order.
func (l *Log) Sealed(after uint64) []SealedFile {
	var out []SealedFile
	for _, p := range *l.files.Load() {
		if s, ok := p.(*sealedFile); ok && s.name.LastSeq > after {
			out = append(out, SealedFile{Name: s.name, Path: s.path, Size: s.size, FirstWitnessed: s.born, Archived: s.archived.Load() != nil, log: l, file: s})
		}
	}
	return out
}

// Local returns the seq from which on all of the log is in the data directory, 0 where nothing
// is, and the bytes of its files there.
func (l *Log) Local() (first uint64, bytes int64) {
	for _, p := range *l.files.Load() {
		switch p := p.(type) {
		case *sealedFile:
			bytes += p.size
		case *hotFile:
			bytes += p.end.Load()
		default:
			first = 0
			continue
		}
		if first == 0 {
			first = p.firstSeq()
		}
	}
	return first, bytes
}

// Open opens the segment; close the reader.
func (s *SealedFile) Open() (*Segment, ArchivedFile, error) {
	f, seg, err := s.file.segment(s.log.opts.FS)
	return seg, f, err
}

// SHA256 returns the hash of the whole file: as it was written where this process
// sealed it, so that bytes that rotted since do not match it, else from reading it.
func (s *SealedFile) SHA256(ctx context.Context) ([HashSize]byte, error) {
	if sum := s.file.sum.Load(); sum != nil {
		return *sum, nil
	}
	var sum [HashSize]byte
	seg, f, err := s.Open()
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if sum, err = seg.sum(ctx); err == nil {
		s.file.sum.Store(&sum)
	}
	return sum, err
}

// sum reads the whole file, checks every block and returns the file's SHA-256.
func (s *Segment) sum(ctx context.Context) (sum [HashSize]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 0, 1<<20)
	spans := make([]*Span, 0, 1+len(s.footer.Blocks))
	spans = append(spans, &s.footer.Header)
	for i := range s.footer.Blocks {
		spans = append(spans, &s.footer.Blocks[i].Span)
	}
	for _, sp := range spans {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		buf = slices.Grow(buf[:0], int(sp.Wire))[:sp.Wire]
		if err := s.readAt(buf, sp.Offset); err != nil {
			return sum, err
		}
		if sha256.Sum256(buf) != sp.SHA256 {
			return sum, s.corrupt(sp.Offset, errBlockSum)
		}
		h.Write(buf)
	}
	end := s.footer.wireEnd()
	if _, err := io.Copy(h, io.NewSectionReader(s.r, end, s.size-end)); err != nil {
		return sum, fmt.Errorf("read %s: %w", s.name, err)
	}
	return [HashSize]byte(h.Sum(nil)), nil
}

// SetArchived says that the archive holds a segment, durably and confirmed, so that it
// may be evicted.
func (l *Log) SetArchived(a Archived) {
	for _, p := range *l.files.Load() {
		if s, ok := p.(*sealedFile); ok && s.name == a.Name {
			s.archived.Store(&a)
			return
		}
	}
}

// Evict removes a local segment that the archive holds; readers go on from there. What
// the archive is not known to hold is ErrNotArchived and stays.
func (l *Log) Evict(n SegmentName) error {
	if l.opts.OpenArchived == nil {
		return fmt.Errorf("evict %s: %w: the log reads no archive", n, ErrNotArchived)
	}
	var path string
	l.changeFiles(func(files []part) []part {
		for i, p := range files {
			s, ok := p.(*sealedFile)
			if !ok || s.name != n {
				continue
			}
			if a := s.archived.Load(); a != nil {
				files[i], path = &archivedFile{Archived: *a, get: l.opts.OpenArchived}, s.path
			}
			break
		}
		return files
	})
	if path == "" {
		return fmt.Errorf("evict %s: %w", n, ErrNotArchived)
	}
	if err := l.opts.FS.Remove(path); err != nil {
		return fmt.Errorf("evict %s: %w", n, err)
	}
	return nil
}

// Closed counts the hot files that are closed and not yet sealed.
func (l *Log) Closed() int {
	n := 0
	for _, p := range *l.files.Load() {
		if h, ok := p.(*hotFile); ok && h.complete() {
			n++
		}
	}
	return n
}

// Trim takes the beginning of the log away, up to a seq that is the last of a sealed
// segment: readers no longer find it, and local files of it are removed. What the archive
// has of it is its owner's to remove.
func (l *Log) Trim(through uint64) error {
	l.trimmed.Store(max(l.trimmed.Load(), through)) // first; find relies on that
	var gone []string
	l.changeFiles(func(files []part) []part {
		for len(files) > 1 && files[0].finalSeq() <= through {
			if _, hot := files[0].(*hotFile); hot {
				break
			}
			if s, ok := files[0].(*sealedFile); ok {
				gone = append(gone, s.path)
			}
			files = files[1:]
		}
		if len(files) > 0 {
			l.oldest.Store(files[0].firstSeq())
		}
		return files
	})
	for _, path := range gone {
		if err := l.opts.FS.Remove(path); err != nil {
			return fmt.Errorf("trim: %w", err)
		}
	}
	return nil
}
