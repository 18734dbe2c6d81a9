package segmentlog

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reader reads records in the order of the log, from a position that is a seq and
// never a file. It stops at the durable end, where Next returns io.EOF; call Next
// again when there may be more. A Reader is for one goroutine.
type Reader struct {
	log   *Log
	after uint64 // every record up to this seq was returned

	part part
	cur  partReader // nil between parts
}

// NewReader returns a reader of the records with a seq above after; 0 begins at
// the oldest. Close it.
func (l *Log) NewReader(after uint64) *Reader { return &Reader{log: l, after: after} }

// Position returns the seq of the last record that Next returned, or where the
// reader began.
func (r *Reader) Position() uint64 { return r.after }

// Close releases the file.
func (r *Reader) Close() error {
	if r.cur == nil {
		return nil
	}
	err := r.cur.close()
	r.cur, r.part = nil, nil
	return err
}

// Next decodes the next record into rec, whose slices live until the next call.
// It returns io.EOF at the durable end and a *CorruptError where the file is
// damaged.
func (r *Reader) Next(rec *Record) error {
	for {
		if r.cur == nil {
			if err := r.open(); err != nil {
				return err
			}
		}
		complete := r.part.complete() // before reading: what is complete does not grow
		err := r.cur.next(rec)
		switch {
		case err == nil:
			r.after = rec.Seq
			return nil
		case !errors.Is(err, io.EOF) || !complete:
			return err
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}

// open finds the file that holds the first record above the position.
func (r *Reader) open() error {
	return r.log.find(r.after, func(p part, _ uint64) error {
		cur, err := p.open(r.log.opts.FS, r.after)
		if err == nil {
			r.part, r.cur = p, cur
		}
		return err
	})
}

// find calls open with the file that holds the first record above after, and the last
// seq of what stood before it, whether that is kept or was trimmed, 0 for nothing; io.EOF when
// there is no such file. A file may go between the look and the opening: then the position is
// looked up again, once.
func (l *Log) find(after uint64, open func(p part, before uint64) error) error {
	for again := false; ; again = true {
		files := *l.files.Load()
		i := sort.Search(len(files), func(i int) bool { return files[i].finalSeq() > after })
		if i == len(files) {
			return io.EOF
		}
		// Trim notes where to before it takes files away: whoever sees fewer files sees that.
		before := min(l.Stream().TrimmedThrough, files[i].firstSeq()-1)
		if i > 0 {
			before = files[i-1].finalSeq()
		}
		err := open(files[i], before)
		if oserror.IsNotExist(err) && !again {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		return nil
	}
}

// open implements part.
func (h *hotFile) open(fs vfs.FS, after uint64) (partReader, error) {
	f, err := fs.Open(h.path)
	if err != nil {
		return nil, err
	}
	return &hotReader{file: h, f: f, after: after, records: h.records(f, h.seek(after), 0)}, nil
}

// hotReader walks the records of a hot file up to its durable end.
type hotReader struct {
	file    *hotFile
	f       vfs.File
	after   uint64
	records *hotRecords
}

func (r *hotReader) next(rec *Record) error {
	r.records.it.end = r.file.end.Load()
	for {
		if err := r.records.next(rec); err != nil || rec.Seq > r.after {
			return err
		}
	}
}

func (r *hotReader) close() error { return r.f.Close() }
