package segmentlog

import "github.com/cockroachdb/pebble/v2/vfs"

// part is one file of the log, hot or sealed, as readers see it. Parts do not
// overlap and stand in the order of their seqs.
type part interface {
	firstSeq() uint64
	// finalSeq is the last durable seq; it grows while the file is written.
	finalSeq() uint64
	// complete says that finalSeq no longer grows.
	complete() bool
	// open returns a reader of the records with a seq above after.
	open(fs vfs.FS, after uint64) (partReader, error)
	// chunks returns the records with after < seq ≤ through, which is the seq of a
	// durable record of this part and above after. Each chunk is to be closed.
	chunks(fs vfs.FS, after, through uint64) ([]*Chunk, error)
}

// partReader walks the records of a part. next returns io.EOF at the durable end,
// which may move on while the part is not complete.
type partReader interface {
	next(rec *Record) error
	close() error
}
