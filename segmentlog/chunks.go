package segmentlog

import (
	"errors"
	"io"
	"iter"
	"sync/atomic"
)

// Chunk is a run of the log's records that is not read yet. Several chunks can be
// decoded at the same time by different goroutines, one goroutine each. A chunk
// keeps its file open until its records were walked or it is closed, so that it can
// be decoded even when the sealer has removed the file meanwhile.
type Chunk struct {
	// After and Through bound the chunk: it holds all of the log's records with
	// After < seq ≤ Through, and no other. The next chunk's After is this Through.
	After, Through uint64
	// Raw is about how many bytes the records are.
	Raw int64

	file *sharedFile // nil when the chunk is closed
	body chunkBody
}

// chunkBody is where the records of a chunk are: a block or a part of a hot file.
type chunkBody interface {
	// each calls f with the records in order until it returns false.
	each(f io.ReaderAt, buf *BlockBuffer, yield func(*Record) bool) error
}

// errChunkClosed: a chunk is walked once.
var errChunkClosed = errors.New("the chunk was walked or closed before")

// Chunks walks over the durable log after a seq in chunks that are cheap to make:
// a block of a sealed segment, or about 1 MiB of a hot file. It ends at the tip of
// when it began. Walk each chunk's Records, or close it; a chunk that is yielded
// belongs to the caller, also when the iteration ends early.
func (l *Log) Chunks(after uint64) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		for tip := l.tip.Load(); after < tip; {
			var chunks []*Chunk
			err := l.find(after, func(p part, _ uint64) (err error) {
				if p.firstSeq() > tip {
					return io.EOF
				}
				chunks, err = p.chunks(l.opts.FS, after, min(tip, p.finalSeq()))
				return err
			})
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i, c := range chunks {
				if after = c.Through; !yield(c, nil) {
					closeChunks(chunks[i+1:])
					return
				}
			}
		}
	}
}

// Records reads and decodes the chunk, checks it as a Reader does, and closes it.
// The record is the same one each time and aliases buf: copy what must live longer.
// An error ends the iteration; it is a *CorruptError where the file is damaged.
func (c *Chunk) Records(buf *BlockBuffer) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		if c.file == nil {
			yield(nil, errChunkClosed)
			return
		}
		defer c.Close()
		if buf == nil {
			buf = &BlockBuffer{}
		}
		err := c.body.each(c.file, buf, func(rec *Record) bool {
			return rec.Seq <= c.After || rec.Seq > c.Through || yield(rec, nil)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// Close gives the chunk up; closing again changes nothing.
func (c *Chunk) Close() {
	if c.file != nil {
		c.file.release()
		c.file = nil
	}
}

func closeChunks(chunks []*Chunk) {
	for _, c := range chunks {
		c.Close()
	}
}

// sharedFile is a file that is closed when the last chunk of it is.
type sharedFile struct {
	ArchivedFile
	users atomic.Int64
}

func (s *sharedFile) release() {
	if s.users.Add(-1) == 0 {
		_ = s.ArchivedFile.Close() // opened for reading
	}
}

// share gives every chunk its part of f.
func share(f ArchivedFile, chunks []*Chunk) {
	s := &sharedFile{ArchivedFile: f}
	s.users.Store(int64(len(chunks)))
	for _, c := range chunks {
		c.file = s
	}
}
