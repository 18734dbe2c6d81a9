package segmentlog

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reader reads records in the order of the log, from a position that is a seq and
// never a file. It stops at the durable end, where Next returns io.EOF; call Next
// again when there may be more. A Reader is for one goroutine.
type Reader struct {
	log   *Log
	after uint64 // every record up to this seq was returned

	file *hotFile
	f    vfs.File
	mark marker
	it   itemReader
}

// NewReader returns a reader of the records with a seq above after; 0 begins at
// the oldest. Close it.
func (l *Log) NewReader(after uint64) *Reader { return &Reader{log: l, after: after} }

// Position returns the seq of the last record that Next returned, or where the
// reader began.
func (r *Reader) Position() uint64 { return r.after }

// Close releases the file.
func (r *Reader) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f, r.file = nil, nil
	return err
}

// Next decodes the next record into rec, whose slices live until the next call.
// It returns io.EOF at the durable end and a *CorruptError where the file is
// damaged.
func (r *Reader) Next(rec *Record) error {
	for {
		if r.file == nil {
			if err := r.open(); err != nil {
				return err
			}
		}
		closed := r.file.closed.Load() // before end: a closed file's end is final
		r.it.end = r.file.end.Load()
		at := r.it.off
		kind, err := r.it.next(rec)
		switch {
		case errors.Is(err, io.EOF) && closed:
			if r.last() {
				return io.EOF
			}
			if err := r.Close(); err != nil {
				return err
			}
			continue
		case errors.Is(err, io.EOF):
			return io.EOF
		case isDiskError(err):
			return fmt.Errorf("read %s: %w", r.file.path, err)
		case err != nil:
			return &CorruptError{File: r.file.path, Offset: at, Err: err}
		case kind == itemMark || rec.Seq <= r.after:
			continue
		}
		r.after = rec.Seq
		return nil
	}
}

// last says whether no file follows the one that is open.
func (r *Reader) last() bool {
	files := *r.log.files.Load()
	return files[len(files)-1] == r.file
}

// open finds the file that holds the first record above the position.
func (r *Reader) open() error {
	files := *r.log.files.Load()
	// The last file that begins at or before after+1 may hold it; when that file ends
	// at or before the position, the next one does.
	i := sort.Search(len(files), func(i int) bool { return files[i].header.FirstSeq > r.after }) - 1
	if i < 0 || files[i].lastSeq.Load() <= r.after && files[i].closed.Load() {
		i++
	}
	if i >= len(files) {
		return io.EOF
	}
	f, err := r.log.opts.FS.Open(files[i].path)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	r.file, r.f = files[i], f
	r.mark = newMarker(r.file.header.append(nil))
	r.it = itemReader{f: f, off: r.file.seek(r.after), mark: &r.mark, buf: r.it.buf[:0]}
	return nil
}
