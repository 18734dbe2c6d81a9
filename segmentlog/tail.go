package segmentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// copyTail copies the records above the durable end into a new, synced file: a
// read may have come from a page cache that the disk never got. The new file
// takes the old one's name when the old one holds nothing else.
func (r *recovery) copyTail(s *scanned) error {
	fs := r.opts.FS
	first, err := firstSeqAt(fs, s)
	if err != nil {
		return err
	}
	h := s.file.header
	h.FirstSeq, h.FirstLeaf, h.Salt = first, r.leaves-s.tailCount, newSalt()
	path := fs.PathJoin(r.dir, hotName(h.Epoch, first))
	w, err := writeTail(fs, s, path+tmpSuffix, h)
	if err == nil {
		err = fs.Rename(path+tmpSuffix, path)
	}
	if err == nil {
		err = SyncDir(fs, r.dir)
	}
	if err != nil {
		return fmt.Errorf("copy the tail of %s: %w", s.file.path, err)
	}
	w.path = path
	r.writer = w
	r.files = append(r.files, w.hotFile)
	r.opts.Logger.Info("recovered records above the last mark", "file", path, "records", s.tailCount, "last_seq", s.tailLast)
	return nil
}

// writeTail makes the new file under path and removes it when that fails: a full
// disk must not be filled further.
func writeTail(fs vfs.FS, s *scanned, path string, h Header) (*hotWriter, error) {
	w, err := createHot(fs, path, h)
	if err == nil {
		if err = copyRecords(fs, s, w); err == nil {
			return w, nil
		}
		_ = w.f.Close() // the copy's error says more
	}
	_ = fs.Remove(path) // the next start removes it otherwise
	return nil, err
}

// firstSeqAt returns the seq of the first record of the tail.
func firstSeqAt(fs vfs.FS, s *scanned) (seq uint64, err error) {
	err = tailRecords(fs, s, func(_ []byte, rec *Record) error {
		seq = rec.Seq
		return io.EOF
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return seq, err
}

// copyRecords writes the tail of s into w as one batch and syncs it.
func copyRecords(fs vfs.FS, s *scanned, w *hotWriter) error {
	buf := make([]byte, markSize, readChunk+markSize)
	w.mark.put(buf, w.end.Load())
	var last uint64
	var count int
	err := tailRecords(fs, s, func(raw []byte, rec *Record) error {
		if last = rec.Seq; len(buf) >= readChunk {
			if err := w.write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		w.note(rec.Seq, w.size+int64(len(buf)))
		buf = append(buf, raw...)
		count++
		return nil
	})
	if err == nil {
		err = w.write(buf)
	}
	if err == nil {
		err = asSyncError(w.f.Sync())
	}
	if err != nil {
		return err
	}
	w.advance(last, count)
	return nil
}

// tailRecords calls f with every record of the tail of s.
func tailRecords(fs vfs.FS, s *scanned, f func(raw []byte, rec *Record) error) error {
	file, err := fs.Open(s.file.path)
	if err != nil {
		return err
	}
	defer file.Close()
	records := s.file.records(file, s.file.end.Load(), s.tailEnd)
	var rec Record
	for {
		err := records.next(&rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(records.raw(), &rec)
		}
		if err != nil {
			return err
		}
	}
}
