package segmentlog

import (
	"iter"
	"sort"
	"sync/atomic"
)

// View is one file of the log, open and cut into blocks that are the same for every
// reader: those of a sealed segment, or about 1 MiB each of a hot file. Its methods may
// be called from any goroutine until it is closed.
type View struct {
	// After and Through bound the file: it holds all of the log's records with
	// After < seq ≤ Through, and no other. The next file's After is this Through. The first
	// file's is what was trimmed, which may be above the position that was asked for.
	After, Through uint64
	// Complete says that nothing is added to the file any more. Where it is not, Through is
	// the durable end of when the view was opened.
	Complete bool
	// Archived says that the file is read from the archive.
	Archived bool

	chunks []*Chunk
	file   *sharedFile
	closed atomic.Bool
}

// View opens the file that holds the first record above after; io.EOF when there is
// none yet. Close it.
func (l *Log) View(after uint64) (*View, error) {
	v := &View{}
	err := l.find(after, func(p part, before uint64) error {
		v.After, v.Complete, v.Through = before, p.complete(), p.finalSeq()
		_, v.Archived = p.(*archivedFile)
		chunks, err := p.chunks(l.opts.FS, v.After, v.Through)
		if err != nil {
			return err
		}
		v.chunks, v.file = chunks, chunks[0].file
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.file.users.Store(1) // the view's; its chunks live with it
	return v, nil
}

// Blocks is the number of blocks.
func (v *View) Blocks() int { return len(v.chunks) }

// Block returns the bounds of block i: it holds the records with after < seq ≤ through,
// about raw bytes of them.
func (v *View) Block(i int) (after, through uint64, raw int64) {
	c := v.chunks[i]
	return c.After, c.Through, c.Raw
}

// Find returns the block that holds the first record above after, which is below
// Through.
func (v *View) Find(after uint64) int {
	return sort.Search(len(v.chunks), func(i int) bool { return v.chunks[i].Through > after })
}

// Records reads and decodes block i. Each record's CRC-32C and the checksum of zstd are
// checked, and for what comes from the archive the block's SHA-256. The record is the
// same one each time and aliases buf: copy what must live longer. An error ends the
// iteration; it is a *CorruptError where the file is damaged.
func (v *View) Records(i int, buf *BlockBuffer) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		c := v.chunks[i]
		buf.unsummed = !v.Archived
		err := c.body.each(v.file, buf, func(rec *Record) bool {
			return rec.Seq <= c.After || rec.Seq > c.Through || yield(rec, nil)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// Close closes the file; closing again changes nothing.
func (v *View) Close() {
	if v.closed.CompareAndSwap(false, true) {
		v.file.release()
	}
}
